// Elements of the page, its theme, what can be copied and what can be saved. Texts enter as text alone, never as HTML.

function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, children = []) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function choice(label, options, onchange) {
  const select = element("select", { onchange: () => onchange(select.value) });
  for (const [value, text] of options) select.append(element("option", { value, text }));
  return element("label", {}, [label, select]);
}

function tick(label, on, onchange) {
  const box = element("input", { type: "checkbox", onchange: () => onchange(box.checked) });
  box.checked = on;
  return element("label", {}, [box, label]);
}

function speak(text) {
  document.getElementById("spoken").textContent = text;
}

const themed = [];  // what is drawn again when the theme changes

function followTheme() {
  const button = document.getElementById("theme");
  const set = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
    for (const draw of themed) draw();
  };
  button.addEventListener("click", () => set(document.documentElement.dataset.theme !== "dark"));
  let dark = false;  // before printing, which is on white paper
  window.addEventListener("beforeprint", () => {
    dark = document.documentElement.dataset.theme === "dark";
    if (dark) set(false);
  });
  window.addEventListener("afterprint", () => dark && set(true));
  set(window.matchMedia("(prefers-color-scheme: dark)").matches);
}

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function makeCopyable() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const text = button.parentElement.querySelector("pre");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        window.getSelection().selectAllChildren(text);  // where a page may not reach the clipboard
        button.textContent = "Selected";
      }
      speak(button.textContent);
    });
  }
}

function save(name, text) {
  const place = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { href: place, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(place), 60000);
}

// Calls `fill` once, as soon as the element is near the visible part of the page, or opened, or printed.
function whenSeen(place, fill) {
  const once = () => {
    watch.disconnect();
    window.removeEventListener("beforeprint", once);
    fill();
  };
  const watch = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && once(), { rootMargin: "400px" });
  watch.observe(place);
  window.addEventListener("beforeprint", once);
}
