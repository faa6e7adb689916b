"use strict";
// Players: transport, selection of tracks during playback, and clickable spectrograms.
(() => {
  const STEP = 1; // seconds, of the arrow keys
  let volume = 1;
  let active = null; // the player used last

  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10);
    return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
  };

  class Player {
    constructor(root) {
      this.root = root;
      this.find = (name) => root.querySelector(name);
      this.radios = [...root.querySelectorAll("input[type=radio]")];
      this.audios = [...root.querySelectorAll("audio")];
      this.cursors = [...root.querySelectorAll(".cursor")];
      this.duration = Number(root.dataset.duration);
      this.at = 0; // position in seconds while paused
      this.loop = false;
      this.isPlaying = false;
      this.engine = new (window.AudioContext ? Mixer : Elements)(this.audios);
      for (const audio of this.audios) audio.controls = false;
      this.find(".transport").hidden = false;
      this.find(".end").textContent = clock(this.duration);
      this.connect();
      this.draw();
    }

    connect() {
      this.find(".play").addEventListener("click", () => this.toggle());
      this.find(".loop").addEventListener("click", () => this.repeat(!this.loop));
      this.find(".seek").addEventListener("input", (event) => this.seek(Number(event.target.value)));
      this.find(".volume").addEventListener("input", (event) => louder(Number(event.target.value)));
      this.radios.forEach((radio, index) => radio.addEventListener("change", () => this.choose(index)));
      this.root.querySelectorAll(".track").forEach((track, index) => {
        for (const picture of track.querySelectorAll(".picture")) this.follow(picture, index);
      });
    }

    // A picture is a track with a time axis: clicking selects and seeks, dragging scrubs.
    follow(picture, index) {
      const seek = (event) => {
        const box = picture.getBoundingClientRect();
        this.seek(((event.clientX - box.left) / box.width) * this.duration);
      };
      picture.addEventListener("click", (event) => {
        this.choose(index);
        this.radios[index].focus({ preventScroll: true });
        seek(event);
      });
      picture.addEventListener("pointermove", (event) => {
        if (event.buttons === 1 && event.pointerType === "mouse") seek(event);
      });
      picture.addEventListener("dragstart", (event) => event.preventDefault());
    }

    get chosen() { return Math.max(0, this.radios.findIndex((radio) => radio.checked)); }

    get position() { return this.isPlaying && this.engine.playing ? this.engine.position() : this.at; }

    async toggle() {
      if (this.isPlaying) this.pause();
      else await this.play();
    }

    async play() {
      this.use();
      this.isPlaying = true;
      this.draw();
      this.root.setAttribute("aria-busy", "true");
      try {
        await this.engine.load(volume);
      } catch (error) { // no memory, or a format that this browser does not decode
        this.engine = new Elements(this.audios);
        await this.engine.load(volume);
      }
      this.root.removeAttribute("aria-busy");
      if (!this.isPlaying || active !== this) return; // stopped while it was loading
      if (this.at >= this.duration - 0.01) this.at = 0;
      this.restart();
      requestAnimationFrame(() => this.tick());
    }

    restart() { this.engine.start(this.at, this.chosen, this.loop, () => this.end()); }

    pause() {
      this.at = this.position;
      this.isPlaying = false;
      this.engine.stop();
      this.draw();
    }

    end() {
      this.at = this.duration;
      this.isPlaying = false;
      this.engine.playing = null;
      this.draw();
    }

    seek(seconds) {
      this.use();
      this.at = Math.min(Math.max(0, seconds), this.duration);
      if (this.isPlaying && this.engine.playing) this.restart();
      this.draw();
    }

    choose(index) {
      this.use();
      this.radios[index].checked = true;
      this.engine.choose(index);
    }

    repeat(loop) {
      this.loop = loop;
      this.engine.repeat(loop);
      this.find(".loop").setAttribute("aria-pressed", String(loop));
    }

    // One player is active at a time, and keeps its decoded audio until another is.
    use() {
      if (active === this) return;
      if (active?.isPlaying) active.pause();
      active?.engine.unload();
      active = this;
    }

    tick() {
      if (!this.isPlaying) return;
      this.draw();
      requestAnimationFrame(() => this.tick());
    }

    draw() {
      const at = this.position;
      const share = this.duration ? (100 * at) / this.duration : 0;
      for (const cursor of this.cursors) cursor.style.left = `${share}%`;
      this.root.classList.toggle("playing", this.isPlaying);
      this.find(".play").setAttribute("aria-label", this.isPlaying ? "Pause" : "Play");
      this.find(".now").textContent = clock(at);
      const seek = this.find(".seek");
      seek.value = at;
      seek.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.duration.toFixed(1)} seconds`);
    }
  }

  const players = new Map([...document.querySelectorAll(".player")].map((root) => [root, new Player(root)]));
  for (const [root, player] of players) root.player = player; // for tests and debugging

  const louder = (level) => {
    volume = level;
    for (const player of players.values()) {
      player.find(".volume").value = level;
      player.engine.louder(level);
    }
  };

  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("[type=search], .volume")) return;
    const here = players.get(target.closest(".player"));
    const player = here ?? active;
    if (!player) return;
    const { chosen } = player;
    const isControl = target.matches("button, summary, a, [role=tab]");
    const last = player.radios.length - 1;
    const actions = {
      " ": isControl ? null : () => player.toggle(),
      ArrowLeft: () => player.seek(player.position - STEP),
      ArrowRight: () => player.seek(player.position + STEP),
      Home: here && (() => player.seek(0)),
      // Outside a player these keys scroll the page.
      ArrowUp: here && (() => player.choose(chosen ? chosen - 1 : last)),
      ArrowDown: here && (() => player.choose(chosen < last ? chosen + 1 : 0)),
    };
    let action = target.matches("[role=tab]") ? null : actions[key];
    const digit = /^[0-9]$/.test(key) ? (Number(key) + 9) % 10 : -1;
    if (digit >= 0 && digit <= last) action = () => player.choose(digit);
    if (!action) return;
    event.preventDefault();
    action();
    // The focus follows the choice, so that the arrow keys go on from there.
    if (player.chosen !== chosen || digit >= 0) player.radios[player.chosen].focus();
  });
})();
