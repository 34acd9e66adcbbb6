"use strict";
/* Lists and sorts the test clips, and finds them from the confusion matrix and from the map. */
(() => {
  const list = document.getElementById("list"), tools = document.getElementById("tools");
  if (!list || !tools) return;
  const clips = [...list.children], fields = tools.elements, count = tools.querySelector("output");
  const heard = () => players.heard().filter((clip) => clip.parentNode === list);
  const orders = {
    "p-": (a, b) => b.dataset.p - a.dataset.p,
    "p+": (a, b) => a.dataset.p - b.dataset.p,
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
    true: (a, b) => a.dataset.true - b.dataset.true || b.dataset.p - a.dataset.p,
  };

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
    const shown = clips.filter((clip) => !clip.hidden).length;
    count.textContent = `${shown} clip${shown === 1 ? "" : "s"}, ${heard().length} with sound`;
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
        players.play(heard()[0]);
      });
      cell.replaceChildren(choose);
    }
  }

  const named = new Map(clips.map((clip) => [clip.dataset.name, clip])), map = document.querySelector("svg.map");
  const places = [...document.querySelectorAll(".map [data-name]")].filter((place) => named.has(place.dataset.name));
  const at = (place) => place.transform.baseVal.getItem(0).matrix;
  const across = [...places].sort((a, b) => at(a).e - at(b).e), up = [...places].sort((a, b) => at(b).f - at(a).f);
  const steps = {ArrowRight: [across, 1], ArrowLeft: [across, -1], ArrowUp: [up, 1], ArrowDown: [up, -1]};

  function choose(place) {
    const clip = named.get(place.dataset.name);
    for (const field of ["show", "true", "predicted"]) fields[field].value = "";
    fields.words.value = place.dataset.name;
    update();
    if (clip.querySelector("audio")) players.play(clip);
    else clip.scrollIntoView({block: "center"});
  }

  for (const place of places) {
    place.setAttribute("role", "button");
    place.setAttribute("tabindex", place === across[0] ? 0 : -1);
    place.addEventListener("click", () => choose(place));
    place.addEventListener("focus", () => {
      map.querySelector("[tabindex='0']").setAttribute("tabindex", -1);
      place.setAttribute("tabindex", 0);
    });
    place.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const [order, by] = steps[event.key] ?? [];
      const next = order ? order[order.indexOf(place) + by] : event.key === "Home" ? across[0] : event.key === "End" ? across.at(-1) : null;
      if (next) next.focus();
      else if (event.key === "Enter" || event.key === " ") choose(place);
      else if (!order) return;
      event.preventDefault();
    });
  }
  if (places.length) map.setAttribute("role", "group"); // an image has no buttons in it

  const runs = document.getElementById("runs"), [root, rest] = location.pathname.split(/\/(?:artifacts\/Reporter|reports)\//);
  if (runs && rest) {
    runs.querySelector("a").href = `${root}/reports/index.html`;
    runs.hidden = false;
  }

  tools.addEventListener("input", update);
  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.hidden = false;
  update();
})();
