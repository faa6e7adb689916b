"use strict";
// Audio engines of a player: all tracks of an item play on one clock, and switching only changes their gains.
const FADE = 0.008; // seconds: inaudible, but long enough to avoid clicks

const bytesOf = (audio) => {
  const text = atob(audio.src.slice(audio.src.indexOf(",") + 1));
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) out[i] = text.charCodeAt(i);
  return out.buffer;
};

// Web Audio: exact to the sample.
class Mixer {
  static context = null; // shared: browsers limit the number of contexts

  constructor(audios) {
    this.audios = audios;
    this.buffers = null;
    this.playing = null;
  }

  async load(volume) {
    Mixer.context ??= new AudioContext({ latencyHint: "interactive" });
    const { context } = Mixer;
    if (context.state === "suspended") await context.resume();
    this.buffers ??= await Promise.all(this.audios.map((audio) => context.decodeAudioData(bytesOf(audio))));
    if (!this.output) {
      this.output = context.createGain();
      this.output.connect(context.destination);
    }
    this.duration = Math.max(...this.buffers.map((buffer) => buffer.duration));
    this.louder(volume);
  }

  unload() { this.buffers = null; }

  start(at, chosen, loop, ended) {
    this.stop();
    const when = Mixer.context.currentTime + 0.02; // time to schedule all sources
    const fade = Mixer.context.createGain();
    fade.gain.setValueAtTime(0, when);
    fade.gain.linearRampToValueAtTime(1, when + FADE);
    fade.connect(this.output);
    const gains = this.buffers.map((buffer, index) => {
      const source = new AudioBufferSourceNode(Mixer.context, { buffer, loop });
      const gain = new GainNode(Mixer.context, { gain: index === chosen ? 1 : 0 });
      source.connect(gain).connect(fade);
      source.start(when, at);
      return { source, gain: gain.gain };
    });
    const longest = this.buffers.findIndex((buffer) => buffer.duration === this.duration);
    gains[longest].source.onended = () => { if (this.playing?.gains === gains) ended(); };
    this.playing = { gains, fade, when, at, chosen, loop };
  }

  stop() {
    if (!this.playing) return;
    const { gains, fade } = this.playing;
    this.playing = null;
    const now = Mixer.context.currentTime;
    fade.gain.cancelScheduledValues(now);
    fade.gain.setValueAtTime(fade.gain.value, now);
    fade.gain.linearRampToValueAtTime(0, now + FADE);
    for (const { source } of gains) source.stop(now + 2 * FADE);
  }

  choose(index) {
    if (!this.playing) return;
    const now = Mixer.context.currentTime;
    this.playing.gains.forEach(({ gain }, other) => {
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(other === index ? 1 : 0, now + FADE);
    });
  }

  repeat(loop) {
    if (!this.playing) return;
    Object.assign(this.playing, { at: this.position(), when: Math.max(this.playing.when, Mixer.context.currentTime), loop });
    for (const { source } of this.playing.gains) source.loop = loop;
  }

  position() {
    const { when, at, loop } = this.playing;
    const position = at + Math.max(0, Mixer.context.currentTime - when);
    return loop ? position % this.duration : Math.min(position, this.duration);
  }

  louder(level) {
    if (this.output) this.output.gain.setTargetAtTime(level * level, Mixer.context.currentTime, FADE);
  }
}

// Without Web Audio: one element at a time, at the position of the previous one.
class Elements {
  constructor(audios) {
    this.audios = audios;
    this.playing = null;
  }

  async load(volume) { this.louder(volume); }

  unload() {}

  start(at, chosen, loop, ended) {
    this.stop();
    const audio = this.audios[chosen];
    audio.loop = loop;
    audio.currentTime = at;
    audio.onended = ended;
    this.playing = audio;
    audio.play().catch(() => {}); // stopped before it began
  }

  stop() {
    this.playing?.pause();
    this.playing = null;
  }

  choose(index) {
    if (this.playing) this.start(this.position(), index, this.playing.loop, this.playing.onended);
  }

  repeat(loop) { if (this.playing) this.playing.loop = loop; }

  position() { return this.playing.currentTime; }

  louder(level) { for (const audio of this.audios) audio.volume = level * level; }
}
