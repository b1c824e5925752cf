"use strict";

// What is marked with data-refresh="<seconds>" is fetched again and put in the place of what
// stood there. What somebody reads or has opened stays as it is.
(function () {
  const shown = document.querySelector("[data-refresh]");
  if (!shown) {
    return;
  }
  const pause = Number(shown.dataset.refresh) * 1000;

  // What is open as the page came stands open in the next one too.
  const opened = shown.querySelectorAll("details[open]").length;

  function openByHand() {
    return shown.querySelectorAll("details[open]").length > opened;
  }

  function isBusy() {
    const selection = window.getSelection();
    return document.hidden
      || (selection && !selection.isCollapsed)
      || openByHand()
      || (shown.contains(document.activeElement) && document.activeElement !== document.body)
      || document.querySelector(".modal.show");
  }

  async function refresh() {
    if (!isBusy()) {
      try {
        // Not the address itself: there may be a name and a password in it, and fetch() refuses it.
        const path = window.location.pathname + window.location.search;
        const response = await fetch(new URL(path, window.location.origin), { cache: "no-store" });
        if (response.ok) {
          const page = new DOMParser().parseFromString(await response.text(), "text/html");
          const found = page.querySelector(".batchq-page [data-refresh]")
            || page.querySelector(".batchq-page > .batchq-detail");
          if (found && !isBusy()) {
            shown.replaceChildren(...found.childNodes);
            if (found.dataset.refresh === undefined) {
              return; // It is over: nothing changes any more.
            }
          }
        }
      } catch (error) {
        // Flower is away; the next look may find it.
      }
    }
    window.setTimeout(refresh, pause);
  }

  window.setTimeout(refresh, pause);
})();
