// Toasts of new alerts: live.js hears of them, here they are shown. They stay until they are closed; all are listed too.
"use strict";
(() => {
  const TOASTS_MAX = 3;
  const box = document.getElementById("avisos");
  if (!box) return;
  const live = document.getElementById("ao-vivo");
  const words = box.dataset;
  const title = document.title;
  const scope = live?.dataset.scope;
  let newest = Number(words.newest);

  // The stream is told what this page has seen: what came while it was away is shown when it is back.
  const remember = () => {
    if (live) live.dataset.scope = `${scope}&alerta=${newest}`;
  };

  const shown = () => [...box.querySelectorAll(".toast")];

  const count = () => {
    const open = shown().length;
    document.title = open ? `(${open}) ${title}` : title;
  };

  const close = (toast) => {
    const held = toast.contains(document.activeElement);
    toast.remove();
    count();
    if (held) (shown().at(-1)?.querySelector("button") ?? document.getElementById("conteudo")).focus();
  };

  const part = (name, text, className = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    made.className = className;
    return made;
  };

  const show = (alert) => {
    if (box.querySelector(`[data-alert="${alert.id}"]`)) return;
    const toast = part("div", "", `toast ${alert.critical ? "crit" : "warn"}`);
    toast.dataset.alert = alert.id;
    const head = part("p", "", "toast-head");
    head.append(part("strong", alert.level), part("span", alert.at, "toast-at"));
    const link = part("a", words.see);
    link.href = alert.href;
    const button = part("button", words.close, "link");
    button.type = "button";
    button.addEventListener("click", () => close(toast));
    const acts = part("p", "", "toast-acts");
    acts.append(link, button);
    toast.append(head, ...(alert.title ? [part("p", alert.title, "toast-title")] : []), part("p", alert.text), acts);
    document.getElementById(alert.critical ? "avisos-criticos" : "avisos-comuns").append(toast);
  };

  // Past the third the oldest goes, of warnings first: a critical one is never pushed out by a warning.
  const makeRoom = () => {
    const byAge = (one, other) => one.dataset.alert - other.dataset.alert;
    while (shown().length > TOASTS_MAX) {
      const common = shown().filter((toast) => toast.classList.contains("warn")).sort(byAge);
      (common[0] ?? shown().sort(byAge)[0]).remove();
    }
  };

  addEventListener("alertas", (event) => {
    event.detail.forEach(show);
    makeRoom();
    newest = Math.max(newest, ...event.detail.map((alert) => alert.id));
    remember();
    count();
  });

  document.addEventListener("keydown", (event) => {
    const last = shown().at(-1);
    if (event.key === "Escape" && last && !document.querySelector("dialog[open], details.menu[open]")) close(last);
  });

  remember();
})();
