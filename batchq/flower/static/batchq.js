// Batchq in Flower: times that go on, buttons that act, an overview that stays up to date.
// On every page of Flower, so it does nothing where there is nothing of Batchq.
(function () {
  "use strict";

  const POLL = 3000;
  const POLL_MOST = 15000;
  const overview = document.getElementById("batchq-overview");

  // An address with a name and a password in it, as people keep for basic auth, is one that
  // fetch() refuses; the origin has neither.
  function address(path) {
    return new URL(path, location.origin);
  }

  // Times

  let ahead = 0; // How far Redis's clock is before this one, in milliseconds.

  function tellNow(now) {
    ahead = Number(now) - Date.now();
  }

  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  // As show.duration says it.
  function duration(milliseconds) {
    const parts = [];
    let left = Math.max(0, Math.round(milliseconds / 1000));
    for (const [size, unit] of left < 600 ? UNITS : UNITS.slice(0, -1)) {
      const number = Math.floor(left / size);
      left %= size;
      if (number) {
        parts.push(number + " " + unit);
      } else if (parts.length) {
        break;
      }
    }
    return parts.slice(0, 2).join(" ") || "0 s";
  }

  function tick() {
    const now = Date.now() + ahead;
    for (const time of document.querySelectorAll("time[data-since], time[data-until]")) {
      const at = Number(time.dataset.since || time.dataset.until);
      const text = time.dataset.since ? duration(now - at) : at > now ? "in " + duration(at - now) : "any moment";
      if (time.textContent !== text) {
        time.textContent = text;
      }
    }
  }

  // Messages

  function toast(message, kind) {
    const element = document.createElement("div");
    element.className = "toast align-items-center border-0 text-bg-" + kind;
    element.setAttribute("role", kind === "danger" ? "alert" : "status");
    const body = document.createElement("div");
    body.className = "toast-body";
    body.textContent = message;
    element.append(body);
    document.getElementById("toast-container").append(element);
    element.addEventListener("hidden.bs.toast", () => element.remove());
    element.addEventListener("click", () => bootstrap.Toast.getInstance(element).hide());
    bootstrap.Toast.getOrCreateInstance(element, { delay: kind === "danger" ? 15000 : 6000 }).show();
  }

  function agreed(question, label) {
    const dialog = document.createElement("dialog");
    dialog.className = "batchq-dialog";
    const text = document.createElement("p");
    text.textContent = question;
    const form = document.createElement("form");
    form.method = "dialog";
    for (const [value, words, kind] of [["", "Back", "outline-secondary"], ["yes", label, "danger"]]) {
      const button = document.createElement("button");
      button.className = "btn btn-" + kind;
      button.value = value;
      button.textContent = words;
      form.append(button);
    }
    dialog.append(text, form);
    document.body.append(dialog);
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => {
        dialog.remove();
        resolve(dialog.returnValue === "yes");
      });
    });
  }

  // Actions

  async function answerOf(response) {
    const kind = response.headers.get("Content-Type") || "";
    if (!kind.includes("application/json")) {
      throw new Error(response.redirected || response.status === 401 ? "You are logged out: load the page again." : "Flower answers with " + response.status + ".");
    }
    const content = await response.json();
    if (!response.ok) {
      throw new Error(content.message || "Flower answers with " + response.status + ".");
    }
    return content;
  }

  async function act(form) {
    const button = form.querySelector("button");
    const question = form.dataset.confirm;
    if (question && !(await agreed(question, button.textContent.trim()))) {
      return;
    }
    button.disabled = true;
    try {
      const response = await fetch(address(form.getAttribute("action")), {
        method: "POST",
        headers: { Accept: "application/json" },
        body: new URLSearchParams(new FormData(form)),
      });
      const content = await answerOf(response);
      toast(content.message, "success");
      if (overview) {
        await refresh({ fresh: true });
      } else {
        const reload = window.setTimeout(() => location.reload(), 2000);
        // Whoever is on the way to another page by then is not taken back.
        window.addEventListener("beforeunload", () => window.clearTimeout(reload));
      }
    } catch (error) {
      toast(error instanceof TypeError ? "Flower does not answer." : error.message, "danger");
    } finally {
      button.disabled = false;
    }
  }

  document.addEventListener("submit", (event) => {
    if (event.target.matches("form.batchq-act")) {
      event.preventDefault();
      act(event.target);
    }
  });

  // An overview that stays up to date

  // Make one element like another and touch nothing that is alike already: what has the focus,
  // or is selected, keeps it.
  function morph(old, other) {
    if (old.isEqualNode(other)) {
      return;
    }
    if (old.nodeType !== other.nodeType || old.nodeName !== other.nodeName || keyOf(old) !== keyOf(other)) {
      old.replaceWith(other);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = other.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!other.hasAttribute(name) && name !== "open") { // Whoever looks has opened it.
        old.removeAttribute(name);
      }
    }
    for (const { name, value } of [...other.attributes]) {
      if (old.getAttribute(name) !== value) {
        old.setAttribute(name, value);
      }
    }
    if (old.nodeName !== "TIME") { // Its text is ours.
      morphChildren(old, other);
    }
    if (old !== document.activeElement && (old.nodeName === "INPUT" || old.nodeName === "SELECT")) {
      old.value = other.value;
    }
  }

  function morphChildren(old, other) {
    const keyed = new Map([...old.children].map((child) => [keyOf(child), child]));
    let at = old.firstChild;
    for (const wanted of [...other.childNodes]) {
      const key = keyOf(wanted);
      const known = key && keyed.get(key);
      if (known && known !== at) {
        old.insertBefore(known, at);
        at = known;
      } else if (!known && (!at || (key && keyOf(at)))) {
        old.insertBefore(wanted, at);
        continue;
      }
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function keyOf(node) {
    return (node.dataset && node.dataset.key) || "";
  }

  let asked = 0;
  let timer = 0;
  let pause = POLL;

  async function refresh({ fresh = false } = {}) {
    window.clearTimeout(timer);
    const number = ++asked;
    try {
      const url = address(overview.dataset.live);
      url.search = location.search;
      const parts = [...overview.querySelectorAll("[data-part]")];
      url.searchParams.set("have", parts.map((part) => part.dataset.digest).join(","));
      if (fresh) {
        url.searchParams.set("fresh", "1");
      }
      const content = await answerOf(await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" }));
      if (number === asked) {
        show(content, parts);
        pause = POLL;
        say(true, "Live");
      }
    } catch (error) {
      if (number === asked) {
        pause = Math.min(pause * 2, POLL_MOST);
        say(false, error instanceof TypeError ? "Flower does not answer" : error.message);
      }
    } finally {
      if (number === asked) {
        later();
      }
    }
  }

  function later() {
    window.clearTimeout(timer);
    if (!document.hidden) {
      timer = window.setTimeout(refresh, pause);
    }
  }

  function show(content, parts) {
    tellNow(content.now);
    for (const part of parts) {
      const changed = content.parts[part.dataset.part];
      if (changed) {
        const template = document.createElement("template");
        template.innerHTML = changed.html;
        morphChildren(part, template.content);
        part.dataset.digest = changed.digest;
      }
    }
    tick();
  }

  function say(live, words) {
    const dot = document.getElementById("batchq-live-dot");
    dot.classList.toggle("status-dot-live", live);
    dot.classList.toggle("status-dot-error", !live);
    document.getElementById("batchq-live-status").textContent = words;
  }

  function go(path) {
    history.pushState(null, "", path);
    refresh();
  }

  function followForm(form) {
    const known = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value) {
        known.append(name, value);
      }
    }
    const query = known.toString();
    go(form.getAttribute("action") + (query ? "?" + query : ""));
  }

  function watch() {
    tellNow(overview.dataset.now);
    let typing = 0;
    overview.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-go]");
      if (link && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey) {
        event.preventDefault();
        go(link.getAttribute("href"));
      }
    });
    overview.addEventListener("submit", (event) => {
      if (event.target.matches("form[data-go]")) {
        event.preventDefault();
        followForm(event.target);
      }
    });
    overview.addEventListener("change", (event) => {
      if (event.target.matches("form[data-go] select")) {
        followForm(event.target.form);
      }
    });
    overview.addEventListener("input", (event) => {
      if (event.target.matches('form[data-go] input[type="search"]')) {
        window.clearTimeout(typing);
        typing = window.setTimeout(followForm, 300, event.target.form);
      }
    });
    window.addEventListener("popstate", () => refresh());
    document.addEventListener("visibilitychange", () => (document.hidden ? later() : refresh()));
    later();
  }

  // Flower's list of tasks

  function markTasks() {
    const table = window.jQuery("#tasks-table");
    const button = document.querySelector('.task-state-filter[data-task-state="BATCHED"]');
    const select = () => {
      const chosen = /(?:^|\s)state:BATCHED(?:\s|$)/i.test(table.DataTable().search());
      if (chosen) {
        for (const other of document.querySelectorAll(".task-state-filter")) {
          other.classList.toggle("active", other === button);
          other.setAttribute("aria-pressed", other === button);
        }
      }
    };
    table.on("draw.dt", () => {
      for (const badge of table[0].querySelectorAll(".badge")) {
        badge.classList.toggle("batchq-batched", badge.textContent === "BATCHED");
      }
    });
    table.on("search.dt", select);
    select();
  }

  tick();
  window.setInterval(tick, 1000);
  if (overview) {
    watch();
  }
  if (document.getElementById("tasks-table") && window.jQuery) {
    // After Flower's own, which makes the table.
    window.jQuery(markTasks);
  }
})();
