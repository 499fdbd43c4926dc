// Makes the pages pleasant where scripts run; without them every page works just the same.
(() => {
  "use strict";

  // 138 0013 8000: groups while typing, forgives +86, spaces, full-width digits and invisible marks.
  const read = (text) => {
    const plain = text.normalize("NFKC").replace(/[^0-9+]/g, "");
    if (plain.startsWith("+") && !plain.startsWith("+86")) return plain;
    const digits = plain.replace(/\+/g, "");
    return digits.length > 11 ? digits.replace(/^(0086|86)/, "") : digits;
  };
  const group = (digits) =>
    digits.startsWith("+")
      ? digits
      : [digits.slice(0, 3), digits.slice(3, 7), digits.slice(7)].filter(Boolean).join(" ");

  const regroup = (field) => {
    const before = field.value.slice(0, field.selectionStart).normalize("NFKC").replace(/[^0-9]/g, "").length;
    const digits = read(field.value);
    const lost = field.value.normalize("NFKC").replace(/[^0-9]/g, "").length - digits.replace("+", "").length;
    field.value = group(digits);
    let caret = 0;
    for (let seen = 0; caret < field.value.length && seen < before - lost; caret++)
      if (/[0-9]/.test(field.value[caret])) seen++;
    field.setSelectionRange(caret, caret);
    return digits;
  };

  const PAUSE_MS = 700; // how long numbers of other countries are is known to the server: it is asked when typing pauses
  let shown = "";
  let pausing;
  const offers = () => document.getElementById("offers");
  const number = document.getElementById("number");
  const country = document.getElementById("country");
  const isHome = () => !country || country.value === "CN";
  const ask = (digits) => {
    if (digits === shown) return;
    shown = digits;
    const operator = document.getElementById("operator");
    const guessed = document.querySelector("[name=guessed]");
    if (operator) operator.value = guessed?.value ?? ""; // what was chosen was chosen for the number of before
    offers()?.dispatchEvent(new Event("refill:ask"));
  };
  if (number) {
    shown = read(number.value);
    number.addEventListener("input", (event) => {
      if (event.isComposing) return;
      clearTimeout(pausing);
      const plain = number.value.normalize("NFKC").replace(/[^0-9+]/g, "");
      if (isHome() && /^(?!\+|00)|^(\+|00)86/.test(plain)) {
        const digits = regroup(number);
        if (/^1[0-9]{10}$/.test(digits)) ask(digits);
      } else if (plain.length >= 6) {
        pausing = setTimeout(() => ask(plain), PAUSE_MS);
      }
    });
    number.addEventListener("compositionend", () => number.dispatchEvent(new Event("input")));
  }

  // Two hundred countries are searched, not scrolled; without scripts there are those where we sell, and the code typed.
  const picker = document.getElementById("country-picker");
  if (country && picker?.showModal) {
    const button = document.getElementById("country-button");
    const search = document.getElementById("country-search");
    const list = document.getElementById("country-list");
    const none = document.getElementById("country-none");
    const label = document.querySelector("label[for=country]").textContent;
    const face = (option) => option.textContent.trim();
    // Two letters of a country are drawn as its flag where the device has flags: then the pair is hardly wider than one.
    const pair = (iso) => String.fromCodePoint(...[...iso].map((letter) => 0x1f1a5 + letter.charCodeAt(0)));
    const wide = document.createElement("canvas").getContext("2d");
    const flags = wide.measureText(pair("CN")).width < 1.5 * wide.measureText(pair("C")).width;
    const flag = (iso) => {
      const mark = document.createElement("span");
      mark.className = "flag";
      mark.setAttribute("aria-hidden", "true");
      mark.textContent = flags ? pair(iso) : iso;
      return mark;
    };
    const show = () => {
      const option = country.selectedOptions[0];
      button.replaceChildren(flag(option.value), face(option).split(" ").pop());
      button.setAttribute("aria-label", `${label}: ${face(option)}`);
    };
    let rows = [];
    const filter = () => {
      const wanted = search.value.normalize("NFKC").toLowerCase().trim();
      for (const { row, found } of rows) row.hidden = !found.includes(wanted);
      none.hidden = !rows.length || rows.some(({ row }) => !row.hidden);
    };
    const fill = async () => {
      if (rows.length) return;
      const answer = await fetch(picker.dataset.list);
      if (!answer.ok) return;
      list.innerHTML = await answer.text();
      rows = [...list.children].map((row) => {
        const pick = row.firstElementChild;
        const text = face(pick);
        pick.prepend(flag(pick.value));
        return { row, pick, text, found: `${text} ${pick.dataset.also} ${pick.value}`.toLowerCase() };
      });
    };
    const choose = ({ pick, text }) => {
      if (![...country.options].some((option) => option.value === pick.value))
        country.add(new Option(text, pick.value));
      country.value = pick.value;
      country.dispatchEvent(new Event("change", { bubbles: true }));
      picker.close();
      number.focus();
    };
    country.hidden = true;
    button.hidden = false;
    show();
    button.addEventListener("click", async () => {
      search.value = "";
      picker.showModal();
      search.focus();
      await fill().catch(() => {}); // no network just now: the next press tries again
      filter();
      for (const { pick } of rows) pick.toggleAttribute("aria-current", pick.value === country.value);
    });
    search.addEventListener("input", filter);
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const first = rows.find(({ row }) => !row.hidden);
      if (first) choose(first);
    });
    list.addEventListener("click", (event) => {
      const chosen = rows.find(({ pick }) => pick === event.target.closest("button"));
      if (chosen) choose(chosen);
    });
    picker.addEventListener("click", (event) => {
      if (event.target === picker || event.target.closest("[data-close]")) picker.close();
    });
    country.addEventListener("change", () => {
      show();
      shown = "";
      number.dispatchEvent(new Event("input"));
    });
  }

  // 0123 4567 8901 2345: a PIN in the groups in which it is printed; a code may have letters.
  for (const field of document.querySelectorAll("[data-code]")) {
    const plain = (text) => text.normalize("NFKC").replace(/[^0-9a-z]/gi, "");
    const show = (event) => {
      if (event?.isComposing) return;
      const before = plain(field.value.slice(0, field.selectionStart)).length;
      const atEnd = field.selectionStart === field.value.length;
      field.value = plain(field.value).replace(/(.{4})(?=.)/g, "$1 ");
      const caret = atEnd ? field.value.length : before + Math.max(0, Math.ceil(before / 4) - 1);
      field.setSelectionRange(caret, caret);
    };
    field.addEventListener("input", show);
    field.addEventListener("compositionend", () => show());
    if (field.value) field.value = plain(field.value).replace(/(.{4})(?=.)/g, "$1 ");
  }

  document.addEventListener("change", (event) => {
    if (event.target.name === "operator") offers()?.dispatchEvent(new Event("refill:ask"));
  });
  document.addEventListener("focusin", (event) => {
    if (event.target.name === "custom") document.getElementById("offer-custom")?.click();
  });

  // One press is one press; coming back by the back button makes the form usable again.
  document.addEventListener("submit", (event) => {
    if (event.target.dataset.once === undefined) return;
    if (event.target.dataset.sent) return event.preventDefault();
    event.target.dataset.sent = "1";
    event.target.setAttribute("aria-busy", "true");
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-print]")) print();
  });

  document.querySelector("form[data-leave]")?.requestSubmit();

  // Inside WeChat the app around the page takes the payment. Whether money moved, the gateway tells us, not this answer.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-bridge]");
    if (!button) return;
    const hand = () =>
      WeixinJSBridge.invoke("getBrandWCPayRequest", JSON.parse(button.dataset.bridge), (said) => {
        if (said.err_msg === "get_brand_wcpay_request:ok") location.assign(button.dataset.back);
        const failed = document.querySelector("[data-bridge-failed]");
        if (failed) failed.hidden = said.err_msg !== "get_brand_wcpay_request:fail";
      });
    if (window.WeixinJSBridge) hand();
    else document.addEventListener("WeixinJSBridgeReady", hand, { once: true });
  });

  // A moving order turns by itself: a stream tells when it moved; where none comes through, the page asks now and then.
  const ALIVE_S = 40; // the stream gives a sign of life every 15 s
  let stream, asking, counting, patience, turning;
  const moving = () => document.getElementById("moving");
  const turn = async () => {
    const before = moving();
    if (turning || !before?.dataset.state) return;
    turning = true;
    try {
      const answer = await fetch(before.dataset.state);
      if (answer.status === 200) replace(before, await answer.text()); // 204: we have seen all there is
    } catch {
      // no network just now: asked again
    }
    turning = false;
    follow();
  };
  const replace = (before, html) => {
    const focused = before.contains(document.activeElement);
    before.outerHTML = html;
    patience = 0;
    const heading = moving().querySelector("h1");
    document.getElementById("told").textContent = heading.textContent;
    document.title = `${heading.textContent.trim()} · Refill`;
    if (focused) heading.focus();
  };
  const askAfter = (seconds) => {
    clearTimeout(asking);
    asking = setTimeout(turn, seconds * 1000);
  };

  const listen = (url) => {
    stream = new EventSource(url);
    stream.onmessage = (event) => {
      askAfter(ALIVE_S);
      if (Number(event.data) > Number(moving()?.dataset.mark)) turn();
    };
    stream.onerror = () => askAfter(patience);
  };
  const silence = () => {
    stream?.close();
    stream = undefined;
    clearTimeout(asking);
    clearInterval(counting);
  };

  // Counted from when the page came, so that a wrong clock of the phone does not matter.
  const count = () => {
    const clock = document.querySelector("[data-left]");
    clearInterval(counting);
    if (!clock) return;
    clock.dataset.end ||= Date.now() + clock.dataset.left * 1000;
    const show = () => {
      const left = Math.max(0, Math.ceil((clock.dataset.end - Date.now()) / 1000));
      clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      if (left) return;
      clearInterval(counting);
      askAfter(1);
    };
    counting = setInterval(show, 1000);
    show();
  };

  const follow = () => {
    const { state, wait, watch } = moving()?.dataset ?? {};
    if (!state || document.hidden) return silence();
    patience = Math.min(patience ? patience * 1.3 : Number(wait), 60);
    askAfter(stream?.readyState === 1 ? ALIVE_S : patience);
    if (window.EventSource && (!stream || stream.readyState === 2)) listen(watch);
    count();
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) silence();
    else turn(); // and then listens on
  });
  follow();
})();
