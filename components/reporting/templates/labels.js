"use strict";
/* Plays songs one after the other, and saves the corrections that a person made. */
(() => {
  const songs = [...document.getElementById("list").children], tools = document.getElementById("tools");
  if (!songs.length) return;
  const sounds = songs.map((song) => song.querySelector("audio"));
  const corrected = () => songs.filter((song) => song.querySelector("select").value !== song.dataset.genre);
  let current = -1;

  sounds.forEach((sound, at) => sound.addEventListener("play", () => {
    sounds.forEach((other) => { if (other !== sound) other.pause(); });
    songs.forEach((song, index) => song.classList.toggle("playing", index === at));
    current = at;
  }));

  function play(at) {
    if (!sounds[at]) return;
    songs[at].scrollIntoView({block: "nearest"});
    sounds[at].currentTime = 0;
    sounds[at].play();
  }

  function count() {
    const found = corrected().length;
    tools.querySelector("output").textContent = `${found} correction${found === 1 ? "" : "s"}`;
  }

  tools.querySelector("button").addEventListener("click", () => {
    const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
    const rows = corrected().map((song) => [song.dataset.name, song.querySelector("select").value, song.dataset.genre]);
    const text = [["track_id", "genre", "was"], ...rows].map((row) => `${row.map(quoted).join(",")}\n`).join("");
    const link = document.createElement("a");
    link.download = "corrections.csv";
    link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  document.addEventListener("change", count);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "n") play(current + 1);
    else if (event.key === "p") play(current - 1);
    else if (event.key === "k" && current >= 0) sounds[current].paused ? sounds[current].play() : sounds[current].pause();
  });
  document.documentElement.classList.add("live");
  tools.hidden = false;
  count();
})();
