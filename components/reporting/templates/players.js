"use strict";
/* Plays the clips of a page, one at a time, and moves the needle over their pictures. */
const players = (() => {
  const heard = () => [...document.querySelectorAll(".clip:not([hidden])")].filter((clip) => clip.querySelector("audio"));
  let current = null;

  function choose(clip) {
    if (current && current !== clip) {
      current.querySelector("audio").pause();
      current.classList.remove("playing");
    }
    current = clip;
    clip.classList.add("playing");
  }

  function start(sound) {
    sound.play().catch((error) => {
      if (error.name !== "AbortError") throw error; // another one was chosen before it began
    });
  }

  function play(clip) {
    if (!clip) return;
    const sound = clip.querySelector("audio");
    choose(clip); // at once, so that two keys in a row go two clips on
    clip.scrollIntoView({block: "nearest"});
    sound.currentTime = 0;
    start(sound);
  }

  function step(by) {
    const clips = heard(), at = clips.indexOf(current);
    play(clips[at < 0 ? (by > 0 ? 0 : clips.length - 1) : at + by]);
  }

  for (const clip of document.querySelectorAll(".clip:has(audio)")) {
    const sound = clip.querySelector("audio"), picture = clip.querySelector("svg.heard"), needle = picture.querySelector(".needle");
    const {left, right, starts, seconds} = picture.dataset;
    const move = () => {
      const at = +left + (right - left) * (+starts + sound.currentTime) / seconds;
      for (const end of ["x1", "x2"]) needle.setAttribute(end, at);
      if (!sound.paused) requestAnimationFrame(move);
    };
    sound.addEventListener("play", () => {
      if (sound.paused) return; // by now
      choose(clip);
      needle.setAttribute("visibility", "visible");
      move();
    });
    sound.addEventListener("seeked", move);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "n") step(1);
    else if (event.key === "p") step(-1);
    else if (event.key === "k" && current) {
      const sound = current.querySelector("audio");
      if (sound.paused) start(sound);
      else sound.pause();
    }
  });
  document.documentElement.classList.add("live");
  return {heard, play};
})();
