// Opens "De onde vem este número?" over the page; without JavaScript the same links lead to the same page.
"use strict";
(() => {
  const dialog = document.getElementById("explicacao-dialogo");
  const menus = [...document.querySelectorAll("details.drop")];

  document.addEventListener("click", (event) => {
    for (const menu of menus) if (menu.open && !menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const open = menus.find((menu) => menu.open);
    if (event.key !== "Escape" || !open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  const problem = document.querySelector("[aria-invalid='true']");
  if (problem) {
    problem.closest("details").open = true;
    problem.focus();
  }
  if (!dialog || !dialog.showModal) return;

  const button = (text, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "link";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  };

  const open = async (link) => {
    const url = link.href;
    let answer;
    try {
      answer = await fetch(url, { headers: { Accept: "text/html" } });
    } catch {
      location.assign(url);
      return;
    }
    const page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
    const article = page && page.getElementById("explicacao");
    if (!article) {
      location.assign(url);
      return;
    }
    const bar = document.createElement("div");
    bar.className = "dialog-bar";
    const words = dialog.dataset;
    bar.append(button(words.copy, () => navigator.clipboard?.writeText(url)), button(words.close, () => dialog.close()));
    dialog.replaceChildren(bar, document.importNode(article, true));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-explains]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link);
  });
})();
