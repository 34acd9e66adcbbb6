// The page: takes songs, asks the server, and shows the answers.

import { genreColour, onTheme, styled, tint } from "/static/colours.js";
import { Player } from "/static/player.js";
import { cannotRecord, Recorder } from "/static/recorder.js";
import { description, model as askModel, predict, takeToken, TokenNeeded, useToken } from "/static/server.js";
import { clock, inWords, percent, Timeline } from "/static/timeline.js";

const part = (id) => document.getElementById(id);
const made = (tag, options = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
};

const visit = []; // { file, name, state, answer, problem }, the newest first
let model = null;
let shown = null;
let recorder = null;
let working = Promise.resolve();

const player = new Player(part("audio"), tellPlace, tellPlaying);
const timeline = new Timeline(part("timeline"), {
  hear: ({ start, end }) => player.hear(start, end),
  toggle: () => player.toggle(),
  choose: tellWindow,
});

// --- The model ---

async function learnModel() {
  try {
    model = await askModel((reason) => {
      busy(true);
      tell(`Waiting: ${reason}`);
    });
  } finally {
    busy(false);
    tell("");
  }
  part("login").hidden = true;
  showModel();
  description().then((address) => { part("api").href = address; }, (error) => explain("", error));
}

/** Says why something failed, and asks for the token if that is what the server wants. */
function explain(name, error) {
  complain(name, error.message);
  if (!(error instanceof TokenNeeded)) return;
  part("login").hidden = false;
  part("token").focus();
}

function places() {
  return Object.fromEntries(model.genres.map((genre, place) => [genre, place]));
}

function fact(name, ...value) {
  return [made("dt", { textContent: name }), made("dd", {}, ...value)];
}

function showModel() {
  const { judged } = model;
  const good = judged ? [`${(100 * judged.accuracy).toFixed(1)} %`] : [];
  const served = part("served");
  served.textContent = [`version ${model.version}`, model.kind, ...good].join(" · ");
  served.href = "#model";
  served.hidden = part("model").hidden = false;
  const facts = [...fact("Version", String(model.version)), ...fact("Kind", made("code", { textContent: model.kind }))];
  if (judged) {
    const [low, high] = judged.interval.map((share) => (100 * share).toFixed(1));
    facts.push(
      ...fact("Accuracy", made("b", { textContent: good[0] })),
      ...fact("95 % interval", `${low} to ${high} %`),
      ...fact("Measured on", `${judged.clips} ${judged.golden ? "golden" : "test"} clips`),
      ...fact("Macro-F1", judged.macro_f1.toFixed(3)),
    );
  }
  facts.push(
    ...fact("Hears", `windows of ${model.window_seconds} s at ${model.sample_rate.toLocaleString("en")} Hz`),
    ...fact("Parameters", model.parameters.toLocaleString("en")),
    ...fact("Takes", `songs up to ${model.limits.minutes} min and ${model.limits.megabytes} MB`),
  );
  part("facts").replaceChildren(...facts);
  part("known").replaceChildren(...model.genres.map((genre, place) => made("li", {}, tint(made("i"), place), genre)));
  const sources = Object.entries(model.trained_on);
  part("learned").hidden = !sources.length;
  part("sources").replaceChildren(...sources.flatMap(([kind, source]) => fact(kind, source)));
  drawOrnament();
}

// --- What the page says ---

function tell(text) {
  part("status").textContent = text;
}

function busy(is) {
  part("work").classList.toggle("busy", is);
}

function complain(name, reason) {
  part("problem").replaceChildren(...(reason ? [made("b", { textContent: name ? `${name}: ` : "" }), reason] : []));
}

// --- Songs ---

function take(files) {
  complain("", "");
  for (const file of files) {
    const song = { file, name: file.name, state: "waiting" };
    visit.unshift(song);
    working = working.then(() => work(song));
  }
  showVisit();
}

async function work(song) {
  song.state = "working";
  showVisit();
  try {
    if (!model) await learnModel();
    busy(true);
    const megabytes = song.file.size / 1e6;
    if (megabytes > model.limits.megabytes) {
      throw new Error(`${megabytes.toFixed(0)} MB are more than the ${model.limits.megabytes} MB that the server takes`);
    }
    tell(`Sending ${song.name}`);
    song.answer = await predict(song.file, song.name, model.window_seconds / 3, (share) => {
      tell(share < 1 ? `Sending ${song.name}: ${percent(share)}` : `Listening to ${song.name}`);
    });
    song.state = "done";
    if (song.answer.version !== model.version) await learnModel().catch((error) => explain("", error));
    show(song);
    tell(`${song.name}: ${song.answer.reason ?? inWords(song.answer, 1)}`); // for those who hear the page
  } catch (error) {
    song.state = "failed";
    song.problem = error.message;
    tell("");
    explain(song.name, error);
  }
  busy(false);
  showVisit();
}

function show(song) {
  shown = song;
  const { answer } = song;
  document.body.classList.add("shown");
  part("song").hidden = false;
  part("title").textContent = song.name;
  const ranked = Object.entries(answer.genres);
  const best = part("best");
  best.textContent = ranked.length ? ranked[0][0] : "Silent";
  document.title = `${best.textContent}: ${song.name}`;
  best.className = "";
  if (ranked.length) tint(best, places()[ranked[0][0]]);
  part("basis").textContent = ranked.length
    ? `${percent(ranked[0][1])}, the mean over ${clock(answer.picture.seconds)}`
    : "There is no sound in it, so it has no genre.";
  part("genres").replaceChildren(...ranked.slice(0, 5).map(([genre, share]) => {
    const bar = tint(made("i"), places()[genre]);
    bar.style.width = `${100 * share}%`;
    return made("li", {}, made("span", { textContent: genre }), made("b", { textContent: percent(share) }), made("span", { className: "bar" }, bar));
  }));
  player.load(song.file);
  timeline.show(answer, places());
  showTable();
  const { picture, ...rest } = answer;
  URL.revokeObjectURL(part("save").href);
  part("save").href = URL.createObjectURL(new Blob([JSON.stringify({ song: song.name, ...rest }, null, 2)], { type: "application/json" }));
  part("save").download = `${song.name}.genres.json`;
  showVisit();
}

function showTable() {
  if (!part("windows").open || !shown) return;
  part("windows").querySelector("tbody").replaceChildren(...shown.answer.segments.map((segment) => {
    const [first, second] = Object.entries(segment.genres);
    const when = `${clock(segment.start, true)} to ${clock(segment.end, true)}`;
    const hear = made("button", { type: "button", textContent: "Hear", onclick: () => player.hear(segment.start, segment.end) });
    hear.setAttribute("aria-label", `Hear ${when}`);
    return made("tr", {},
      made("th", { scope: "row", textContent: when }),
      made("td", { textContent: first?.[0] ?? "silent" }),
      made("td", { className: "n", textContent: first ? percent(first[1]) : "" }),
      made("td", { textContent: second ? `${second[0]} ${percent(second[1])}` : "" }),
      made("td", {}, hear));
  }));
}

function showVisit() {
  part("visit").hidden = !visit.length;
  part("history").replaceChildren(...visit.map((song) => {
    const { answer } = song;
    const said = { waiting: "waiting", working: "listening", failed: song.problem }[song.state] ?? answer.reason ?? inWords(answer, 1);
    const strip = made("span", { className: "strip" });
    strip.setAttribute("aria-hidden", "true");
    if (answer) {
      strip.append(...answer.segments.map(({ start, end, genres }) => {
        const [genre] = Object.keys(genres);
        const piece = genre ? tint(made("i"), places()[genre]) : made("i");
        piece.style.flexGrow = end - start;
        return piece;
      }));
    }
    const open = made("button", { type: "button", disabled: !answer, onclick: () => show(song) },
      made("b", { textContent: song.name }), made("span", { className: song.state === "failed" ? "failed" : "said", textContent: said }), strip);
    if (song === shown) open.setAttribute("aria-current", "true");
    return made("li", {}, open);
  }));
}

// --- Playing ---

function tellPlace(seconds) {
  timeline.move(seconds);
  if (player.until === Infinity) timeline.follow(seconds); // a window that is heard alone stays the chosen one
  part("clock").textContent = `${clock(seconds)} / ${clock(shown.answer.picture.seconds)}`;
}

function tellPlaying() {
  const play = part("play");
  play.disabled = !player.playable;
  play.setAttribute("aria-label", player.playing ? "Pause" : "Play");
  part("play-shape").setAttribute("d", player.playing ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z");
  document.body.classList.toggle("playing", player.playing);
  part("clock").textContent = player.playable
    ? `${clock(player.seconds)} / ${clock(shown.answer.picture.seconds)}`
    : player.audio.error ? "This browser cannot play this format; the answer is right all the same." : "";
}

function tellWindow(segment) {
  part("readout").textContent = segment ? `${clock(segment.start, true)} to ${clock(segment.end, true)}: ${inWords(segment, 3)}` : "";
}

// --- Choosing, dropping, recording ---

part("choose").addEventListener("click", () => part("file").click());
part("file").addEventListener("change", () => {
  take([...part("file").files]);
  part("file").value = ""; // so that the same file can be chosen again
});

let depth = 0; // of elements that a file is dragged over
addEventListener("dragenter", () => { depth += 1; document.body.classList.add("dragging"); });
addEventListener("dragleave", () => { depth -= 1; if (!depth) document.body.classList.remove("dragging"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("dragging");
  take([...event.dataTransfer.files]);
});

part("record").addEventListener("click", async () => {
  if (recorder) {
    const ended = recorder;
    recorder = null;
    const blob = await ended.stop();
    document.body.classList.remove("recording");
    part("level").hidden = true;
    part("record-label").textContent = "Record";
    const time = new Date().toLocaleTimeString("en-GB");
    take([new File([blob], `Recording ${time}`, { type: blob.type })]);
    return;
  }
  complain("", "");
  const problem = cannotRecord();
  if (problem) return complain("", problem);
  try {
    recorder = await Recorder.start((seconds, level) => {
      part("record-label").textContent = `Stop (${clock(seconds)})`;
      part("level").value = level;
    });
    part("level").hidden = false;
    document.body.classList.add("recording");
  } catch (error) {
    complain("", `The microphone cannot be used: ${error.message}`);
  }
});

part("play").addEventListener("click", () => player.toggle());
part("windows").addEventListener("toggle", showTable);
part("login").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(part("token").value);
  complain("", "");
  learnModel().catch((error) => explain("", error));
});

// --- Ornament: bars as of a song that is still to come ---

function drawOrnament() {
  const canvas = part("ornament");
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const context = canvas.getContext("2d");
  context.scale(devicePixelRatio, devicePixelRatio);
  const step = 7;
  for (let x = 0; x < width; x += step) {
    const share = x / width;
    const swell = 0.45 + 0.55 * Math.sin(Math.PI * share) ** 2;
    const wave = Math.abs(Math.sin(share * 41) * 0.5 + Math.sin(share * 97 + 1) * 0.3 + Math.sin(share * 211 + 2) * 0.2);
    const tall = Math.max(4, height * swell * (0.12 + 0.8 * wave));
    context.fillStyle = model ? genreColour(Math.floor(share * Math.min(8, model.genres.length))) : styled("--faint");
    context.beginPath();
    context.roundRect(x, (height - tall) / 2, step - 3, tall, 2);
    context.fill();
  }
}

new ResizeObserver(drawOrnament).observe(part("ornament"));
onTheme(drawOrnament);

takeToken();
learnModel().catch((error) => explain("", error));
