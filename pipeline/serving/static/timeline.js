// Draws a song over time: waveform, mel spectrogram and a band per genre, with a cursor and one chosen window.

import { genreColour, onTheme, ramp, styled } from "/static/colours.js";

const ROWS = 8;
const NARROW = matchMedia("(max-width: 640px)");

/** Seconds as 1:05; `exactly` adds tenths where they are not 0. */
export function clock(seconds, exactly = false) {
  const tenths = exactly ? Math.round(seconds * 10) : 10 * Math.floor(seconds);
  const rest = (tenths % 600) / 10;
  return `${Math.floor(tenths / 600)}:${rest < 10 ? "0" : ""}${rest}`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;

/** The genres of a window in words. */
export function inWords(segment, count = 2) {
  const named = Object.entries(segment.genres).slice(0, count).filter(([, share], place) => !place || share >= 0.01);
  return named.map(([genre, share]) => `${genre} ${percent(share)}`).join(", ") || "silent";
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Each window with the stretch that is shown for it: where windows overlap, the middle between their middles. */
function stretches(segments) {
  const middle = ({ start, end }) => (start + end) / 2;
  return segments.map((segment, place) => {
    const before = segments[place - 1], after = segments[place + 1];
    const from = before && before.end > segment.start ? (middle(before) + middle(segment)) / 2 : segment.start;
    const to = after && after.start < segment.end ? (middle(segment) + middle(after)) / 2 : segment.end;
    return { ...segment, from, to };
  });
}

export class Timeline {
  /** `hear(segment)` is called for a window that is clicked or entered, `toggle()` for the space bar. */
  constructor(root, { hear, toggle, choose }) {
    this.part = (name) => root.querySelector(`#${name}`);
    this.hear = hear;
    this.toggle = toggle;
    this.choose = choose;
    this.seconds = 0;
    this.chosen = -1;
    new ResizeObserver(() => this.draw()).observe(this.part("stage"));
    onTheme(() => this.draw());
    const seek = this.part("seek");
    const at = (event) => this.#at(((event.clientX - seek.getBoundingClientRect().left) / seek.clientWidth) * this.length);
    seek.addEventListener("pointermove", (event) => this.select(at(event)));
    seek.addEventListener("pointerleave", () => this.select(this.#at(this.seconds)));
    seek.addEventListener("click", (event) => { this.select(at(event)); this.#hearChosen(); });
    seek.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows a song. `places` has each genre's place in the model's list. */
  show(answer, places) {
    this.answer = answer;
    this.length = answer.picture.seconds;
    this.stretches = stretches(answer.segments);
    this.genres = Object.keys(answer.genres).slice(0, ROWS);
    this.colour = (genre) => genreColour(places[genre]);
    this.mel = bytes(answer.picture.mel);
    this.peaks = bytes(answer.picture.peaks);
    this.part("labels").replaceChildren(...this.genres.map((genre) => {
      const label = document.createElement("li");
      label.textContent = label.title = genre;
      return label;
    }));
    this.part("stage").style.setProperty("--rows", this.genres.length);
    this.part("labels").style.setProperty("--rows", this.genres.length);
    this.part("seek").setAttribute("aria-valuemax", Math.max(0, this.stretches.length - 1));
    this.draw();
    this.move(0);
    this.select(0);
  }

  /** Puts the cursor at a place of the song. */
  move(seconds) {
    this.seconds = seconds;
    const share = this.length ? Math.min(1, seconds / this.length) : 0;
    this.part("cursor").style.left = this.part("ahead").style.left = `${100 * share}%`;
  }

  /** Chooses a window by its number. */
  select(number) {
    const segment = this.stretches?.[number];
    this.chosen = segment ? number : -1;
    const mark = this.part("window");
    mark.hidden = !segment;
    if (!segment) return this.choose(null);
    mark.style.left = `${(100 * segment.from) / this.length}%`;
    mark.style.width = `${(100 * (segment.to - segment.from)) / this.length}%`;
    const seek = this.part("seek");
    seek.setAttribute("aria-valuenow", number);
    seek.setAttribute("aria-valuetext", `${clock(segment.start, true)} to ${clock(segment.end, true)}: ${inWords(segment)}`);
    this.choose(segment);
  }

  /** Chooses the window of a moment, unless there is none. */
  follow(seconds) {
    const number = this.#at(seconds);
    if (number !== this.chosen && number >= 0) this.select(number);
  }

  #at(seconds) {
    return this.stretches.findIndex(({ from, to }) => seconds >= from && seconds < to);
  }

  #hearChosen() {
    if (this.chosen >= 0) this.hear(this.stretches[this.chosen]);
  }

  #key(event) {
    const last = this.stretches.length - 1;
    const go = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key];
    if (go) this.select(Math.max(0, Math.min(last, this.chosen + go)));
    else if (event.key === "Enter") this.#hearChosen();
    else if (event.key === " ") this.toggle();
    else return;
    event.preventDefault();
  }

  // --- Drawing ---

  draw() {
    if (!this.answer) return;
    this.#drawWaveform();
    this.#drawSpectrogram();
    this.#drawBands();
    this.#drawAxis();
  }

  /** A canvas in the pixels of the screen; returns what draws in those of the style sheet. */
  #canvas(name) {
    const canvas = this.part(name);
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const context = canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    return { context, width, height };
  }

  #drawWaveform() {
    const { context, width, height } = this.#canvas("waveform");
    const step = 4;
    const loudest = Math.max(...this.peaks, 1);
    let stretch = 0;
    for (let x = 0; x + step <= width; x += step) {
      const from = Math.floor((x / width) * this.peaks.length);
      const to = Math.max(from + 1, Math.floor(((x + step) / width) * this.peaks.length));
      const peak = Math.max(...this.peaks.subarray(from, to)) / loudest;
      const moment = ((x + step / 2) / width) * this.length;
      while (this.stretches[stretch] && moment >= this.stretches[stretch].to) stretch += 1;
      const segment = this.stretches[stretch];
      const genre = segment && moment >= segment.from ? Object.keys(segment.genres)[0] : undefined;
      context.fillStyle = genre ? this.colour(genre) : styled("--faint");
      const tall = Math.max(2, peak * (height - 6));
      context.beginPath();
      context.roundRect(x + 0.5, (height - tall) / 2, step - 1.5, tall, 1.25);
      context.fill();
    }
  }

  #drawSpectrogram() {
    const { columns, bands } = this.answer.picture;
    const colours = ramp();
    const image = new ImageData(columns, bands);
    for (let column = 0; column < columns; column += 1) {
      for (let band = 0; band < bands; band += 1) {
        const colour = colours[this.mel[column * bands + band]];
        image.data.set(colour, 4 * ((bands - 1 - band) * columns + column));
        image.data[4 * ((bands - 1 - band) * columns + column) + 3] = 255;
      }
    }
    const small = new OffscreenCanvas(columns, bands);
    small.getContext("2d").putImageData(image, 0, 0);
    const { context, width, height } = this.#canvas("spectrogram");
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, width, height);
  }

  #drawBands() {
    const { context, width, height } = this.#canvas("bands");
    const row = height / this.genres.length;
    const top = NARROW.matches ? 18 : 3; // on a phone the name stands above its band
    const x = (seconds) => (seconds / this.length) * width;
    this.genres.forEach((genre, number) => {
      const [y, tall] = [number * row + top, row - top - 3];
      context.fillStyle = styled("--track");
      context.beginPath();
      context.roundRect(0, y, width, tall, 4);
      context.fill();
      context.save();
      context.clip();
      context.fillStyle = this.colour(genre);
      for (const { from, to, genres } of this.stretches) {
        context.globalAlpha = genres[genre] ?? 0;
        context.fillRect(x(from), y, x(to) - x(from) - (x(to) - x(from) > 6 ? 1 : 0), tall);
      }
      context.restore();
    });
  }

  #drawAxis() {
    const { context, width } = this.#canvas("axis");
    const least = (this.length * 56) / width;
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200].find((each) => each >= least) ?? 3600;
    context.font = `12px ${styled("--sans")}`;
    context.fillStyle = styled("--muted");
    for (let moment = 0; moment <= this.length; moment += step) {
      const x = (moment / this.length) * width;
      context.fillRect(Math.min(x, width - 1), 0, 1, 5);
      const text = clock(moment, true);
      const wide = context.measureText(text).width;
      if (x + wide / 2 <= width + 8) context.fillText(text, Math.max(0, Math.min(x - wide / 2, width - wide)), 18);
    }
  }
}
