// Records from the microphone.

/** Why this browser cannot record here; empty if it can. */
export function cannotRecord() {
  if (!isSecureContext) return "Recording needs https, or a server on this machine.";
  return navigator.mediaDevices && window.MediaRecorder ? "" : "This browser does not record.";
}

export class Recorder {
  /** Begins; `tell(seconds, level)` is called while it records, level from 0 to 1. */
  static async start(tell) {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, // they are made for speech
    });
    return new Recorder(stream, tell);
  }

  constructor(stream, tell) {
    this.stream = stream;
    this.parts = [];
    this.recorder = new MediaRecorder(stream);
    this.recorder.ondataavailable = (event) => this.parts.push(event.data);
    this.recorder.start(250);
    this.context = new AudioContext();
    const analyser = this.context.createAnalyser();
    this.context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const begin = performance.now();
    this.timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      tell((performance.now() - begin) / 1000, samples.reduce((most, each) => Math.max(most, Math.abs(each)), 0));
    }, 80);
  }

  /** Ends, and resolves to what was recorded. */
  stop() {
    clearInterval(this.timer);
    this.context.close();
    return new Promise((resolve) => {
      this.recorder.onstop = () => {
        for (const track of this.stream.getTracks()) track.stop();
        resolve(new Blob(this.parts, { type: this.recorder.mimeType }));
      };
      this.recorder.stop();
    });
  }
}
