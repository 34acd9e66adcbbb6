"use strict";
/* Lists, sorts and plays the clips of a page. Without it, all is there to be read and played one by one. */
(() => {
  const list = document.getElementById("list"), tools = document.getElementById("tools");
  if (!list || !tools) return;
  const clips = [...list.children], fields = tools.elements, count = tools.querySelector("output");
  const sound = (clip) => clip.querySelector("audio");
  const shown = () => [...list.children].filter((clip) => !clip.hidden);
  const orders = {
    "p-": (a, b) => b.dataset.p - a.dataset.p,
    "p+": (a, b) => a.dataset.p - b.dataset.p,
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
    true: (a, b) => a.dataset.true - b.dataset.true || b.dataset.p - a.dataset.p,
  };
  let current = null;

  function update() {
    const words = fields.words.value.trim().toLowerCase(), show = fields.show.value;
    for (const clip of clips) {
      const wrong = clip.classList.contains("wrong");
      clip.hidden = (show === "wrong" && !wrong) || (show === "right" && wrong)
        || (fields.true.value !== "" && fields.true.value !== clip.dataset.true)
        || (fields.predicted.value !== "" && fields.predicted.value !== clip.dataset.predicted)
        || !clip.textContent.toLowerCase().includes(words);
    }
    list.append(...clips.sort(orders[fields.order.value]));
    const found = shown(), heard = found.filter(sound).length;
    count.textContent = `${found.length} clip${found.length === 1 ? "" : "s"}, ${heard} with sound`;
  }

  function play(clip) {
    if (!clip) return;
    clip.scrollIntoView({block: "nearest"});
    sound(clip).currentTime = 0;
    sound(clip).play();
  }

  function step(by) {
    const heard = shown().filter(sound), at = heard.indexOf(current);
    play(heard[at < 0 ? (by > 0 ? 0 : heard.length - 1) : at + by]);
  }

  for (const clip of clips.filter(sound)) {
    const audio = sound(clip), picture = clip.querySelector("svg.heard"), needle = picture.querySelector(".needle");
    const {left, right, starts, seconds} = picture.dataset;
    const move = () => {
      const at = +left + (right - left) * (+starts + audio.currentTime) / seconds;
      for (const end of ["x1", "x2"]) needle.setAttribute(end, at);
      if (!audio.paused) requestAnimationFrame(move);
    };
    audio.addEventListener("play", () => {
      if (current && current !== clip) {
        sound(current).pause();
        current.classList.remove("playing");
      }
      current = clip;
      clip.classList.add("playing");
      needle.setAttribute("visibility", "visible");
      move();
    });
    audio.addEventListener("seeked", move);
  }

  for (const path of list.querySelectorAll(".path")) {
    const copy = document.createElement("button");
    copy.type = "button";
    copy.textContent = "Copy path";
    copy.addEventListener("click", async () => {
      const text = path.querySelector("code");
      try {
        await navigator.clipboard.writeText(text.textContent);
      } catch {
        getSelection().selectAllChildren(text);
        document.execCommand("copy");
      }
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy path"; }, 1500);
    });
    path.append(" ", copy);
  }

  const matrix = document.getElementById("matrix");
  for (const [row, line] of [...(matrix ? matrix.tBodies[0].rows : [])].entries()) {
    for (const [column, cell] of [...line.querySelectorAll("td:not(.n)")].entries()) {
      if (!cell.title) continue;
      const choose = document.createElement("button");
      choose.type = "button";
      choose.textContent = cell.textContent;
      choose.setAttribute("aria-label", `${cell.title}: hear them`);
      choose.addEventListener("click", () => {
        fields.show.value = "";
        fields.words.value = "";
        fields.true.value = row;
        fields.predicted.value = column;
        update();
        tools.scrollIntoView();
        play(shown().find(sound));
      });
      cell.replaceChildren(choose);
    }
  }

  for (const place of document.querySelectorAll(".map [data-name]")) {
    const clip = clips.find((each) => each.dataset.name === place.dataset.name);
    if (!clip) continue;
    place.classList.add(sound(clip) ? "heard" : "mute");
    place.addEventListener("click", () => {
      for (const field of ["show", "true", "predicted", "words"]) fields[field].value = "";
      fields.words.value = clip.dataset.name;
      update();
      if (sound(clip)) play(clip);
      else clip.scrollIntoView({block: "center"});
    });
  }

  const runs = document.getElementById("runs"), [root, rest] = location.pathname.split(/\/(?:artifacts\/Reporter|reports)\//);
  if (runs && rest) {
    runs.querySelector("a").href = `${root}/reports/index.html`;
    runs.hidden = false;
  }

  tools.addEventListener("input", update);
  tools.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === "n") step(1);
    else if (event.key === "p") step(-1);
    else if (event.key === "k" && current) sound(current).paused ? sound(current).play() : sound(current).pause();
  });
  document.documentElement.classList.add("live");
  tools.hidden = false;
  update();
})();
