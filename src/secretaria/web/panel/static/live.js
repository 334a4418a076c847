// Keeps the figures of a page up to date: one EventSource, ready strings by element id, never any layout.
// The server sends everything when a stream opens, so a lost connection needs no Last-Event-ID.
"use strict";
(() => {
  const [SILENCE_MS, OFFLINE_MS] = [25_000, 60_000];
  const HIDDEN_MS = 60_000;
  const RETRY_MAX_S = 60;
  const ATTRIBUTES = ["x", "y", "height", "width", "d", "title", "data-kind"];
  const PAUSED = "secretaria.paused";

  const root = document.getElementById("ao-vivo");
  if (!root) return;
  const element = (id) => document.getElementById(id);
  const words = root.dataset;
  const pause = element("pausar");

  let source = null;
  let retryTimer, hiddenTimer;
  let retryS = 1;
  let heardAt = performance.now();
  let [lost, ended] = [false, false];
  let paused = localStorage.getItem(PAUSED) === "1";

  const write = (target, text) => {
    if (target && target.textContent !== text) target.textContent = text;
  };

  const show = (state) => {
    words.state = state;
    write(element("conexao"), words[state]);
    element("aviso-conexao").hidden = state !== "offline";
  };

  const apply = (message) => {
    for (const [id, text] of Object.entries(message.texts ?? {})) write(element(id), text);
    for (const [id, marks] of Object.entries(message.marks ?? {}))
      for (const name of ATTRIBUTES) if (name in marks) element(id)?.setAttribute(name, marks[name]);
    if ("late" in message) element("dados-ate").dataset.late = String(message.late);
    if (message.alerts) dispatchEvent(new CustomEvent("alertas", { detail: message.alerts }));
  };

  const heard = (event) => {
    heardAt = performance.now();
    retryS = 1;
    show("live");
    if (lost) write(element("anuncio"), words.restored);
    lost = false;
    apply(JSON.parse(event.data));
  };

  const close = () => {
    clearTimeout(retryTimer);
    source?.close();
    source = null;
  };

  const expire = () => {
    ended = true;
    close();
    show("offline");
    element("aviso-conexao").hidden = true;
    element("sessao-expirada").showModal();
  };

  // EventSource hides the status of a refusal, so the session is asked about separately.
  const probe = async () => {
    try {
      const answer = await fetch("/_/sessao", { cache: "no-store" });
      if (answer.status === 401) expire();
    } catch {
      // Offline: the retry already planned will tell.
    }
  };

  const fail = () => {
    close();
    if (!lost) write(element("anuncio"), words.reconnecting);
    lost = true;
    if (words.state !== "offline") show("reconnecting");
    retryTimer = setTimeout(open, Math.random() * retryS * 1000);
    if (retryS > 1) probe();
    retryS = Math.min(retryS * 2, RETRY_MAX_S);
  };

  const open = () => {
    if (paused || ended || document.hidden) return;
    close();
    source = new EventSource(`/_/eventos?${words.scope}`);
    for (const name of ["valores", "pulso", "alerta"]) source.addEventListener(name, heard);
    source.addEventListener("fim", expire);
    source.addEventListener("error", fail);
  };

  setInterval(() => {
    if (paused || ended || document.hidden) return;
    const silence = performance.now() - heardAt;
    if (silence > OFFLINE_MS && words.state !== "offline") show("offline");
    if (silence > SILENCE_MS && source && words.state === "live") fail();
  }, 1000);

  const setPaused = (value) => {
    paused = value;
    localStorage.setItem(PAUSED, value ? "1" : "0");
    write(pause, value ? words.resume : words.pause);
    heardAt = performance.now();
    show(value ? "paused" : "reconnecting");
    value ? close() : open();
  };

  pause.addEventListener("click", () => setPaused(!paused));
  pause.parentElement.hidden = false;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    if (document.hidden) hiddenTimer = setTimeout(close, HIDDEN_MS);
    else if (!source && !paused) setPaused(false);
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && setPaused(paused));
  setPaused(paused);
})();
