// Plays a song, or one window of it.

export class Player {
  /** `tell(seconds)` is called while it plays, `changed()` when it begins, ends or cannot play. */
  constructor(audio, tell, changed) {
    this.audio = audio;
    this.tell = tell;
    this.until = Infinity;
    this.playable = false;
    audio.addEventListener("play", () => { this.#frame(); changed(); });
    audio.addEventListener("pause", changed);
    audio.addEventListener("seeked", () => tell(this.seconds));
    audio.addEventListener("error", () => { this.playable = false; changed(); });
    audio.addEventListener("loadedmetadata", () => {
      this.playable = true;
      // A recording has no length in its header. Once a browser has looked for the end, it can go anywhere.
      if (audio.duration === Infinity) audio.currentTime = Number.MAX_SAFE_INTEGER;
      changed();
    });
    audio.addEventListener("durationchange", () => {
      if (audio.currentTime > audio.duration) audio.currentTime = 0;
    });
  }

  get seconds() { return this.audio.currentTime; }
  get playing() { return !this.audio.paused; }

  /** Takes a file; the one before is forgotten. */
  load(file) {
    this.stop();
    URL.revokeObjectURL(this.audio.src);
    this.playable = false;
    this.audio.src = URL.createObjectURL(file);
  }

  /** Plays on from where it is, or stops. */
  toggle() {
    if (this.playing) return this.stop();
    this.until = Infinity;
    if (this.audio.ended) this.audio.currentTime = 0;
    this.#play();
  }

  /** Plays from `start` to `end`, in seconds. */
  hear(start, end) {
    this.until = end;
    this.audio.currentTime = start;
    this.#play();
  }

  /** Goes to a place. */
  seek(seconds) { this.audio.currentTime = seconds; }

  stop() { this.audio.pause(); }

  #play() {
    if (this.playable) this.audio.play().catch(() => {}); // it was stopped before it began
  }

  #frame() {
    if (!this.playing) return;
    if (this.seconds >= this.until) {
      this.stop();
      this.audio.currentTime = this.until;
      return;
    }
    this.tell(this.seconds);
    requestAnimationFrame(() => this.#frame());
  }
}
