// Keeps a page alive: asks for it again every few seconds and puts in place what has changed. Without it, each page works.
"use strict";

const KEY = "bgjob-refresh";
const choice = document.querySelector("#refresh select");
let known = null; // the ETag of what is shown
let timer = 0;

function seconds() {
  return Number(choice.value);
}

function plan() {
  clearTimeout(timer);
  if (seconds() && !document.hidden) timer = setTimeout(look, seconds() * 1000);
}

async function look() {
  try {
    const headers = known ? { "If-None-Match": known } : {};
    const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
    if (answer.ok && !document.hidden) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      known = answer.headers.get("ETag");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (fresh) match(part, fresh);
      }
      document.title = page.title;
      dress();
    }
    tell(answer.ok || answer.status === 304 ? "" : answer.status === 404 ? "This page is no more." : `The dashboard answers with an error (${answer.status}), so this page is stale.`);
  } catch {
    tell("The dashboard does not answer, so this page is stale.");
  }
  plan();
}

// What is wrong with the page itself stands where the runner's light was, which is not to be believed then.
function tell(trouble) {
  document.body.classList.toggle("lost", trouble !== "");
  const told = document.getElementById("lost");
  if (told.textContent !== trouble) told.textContent = trouble;
}

// Make `old` like `fresh`, touching only what differs, so that focus, ticks, selections and what is typed stay.
function match(old, fresh) {
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && !isOwn(old, name)) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !isOwn(old, name)) old.removeAttribute(name);
  }
  const left = new Map([...old.children].filter(idOf).map((child) => [idOf(child), child]));
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    while (place && place.nodeType === 1 && "own" in place.dataset) place = place.nextSibling;
    const named = left.get(idOf(wanted));
    if (named && named !== place) old.insertBefore(named, place);
    const found = named || place;
    if (found && found.nodeType === wanted.nodeType && found.nodeName === wanted.nodeName && idOf(found) === idOf(wanted)) {
      if (wanted.nodeType === 1) match(found, wanted);
      else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
      place = found.nextSibling;
    } else {
      const added = document.importNode(wanted, true);
      old.insertBefore(added, place);
      if (added.id && added.nodeName === "TR") added.classList.add("fresh");
    }
  }
  while (place) {
    const next = place.nextSibling;
    if (!(place.nodeType === 1 && "own" in place.dataset)) place.remove();
    place = next;
  }
}

// Not `node.id`: that of a form is its field with this name.
function idOf(node) {
  return node.nodeType === 1 ? node.getAttribute("id") || "" : "";
}

// What belongs to the person, not to the page that was sent.
function isOwn(element, name) {
  if (name === "open") return element.nodeName === "DETAILS";
  if (name === "hidden") return idOf(element) === "all";
  if (name === "disabled") return element.form !== null && idOf(element.form) === "ticked";
  return name === "class" && element.classList.contains("fresh");
}

// The ages of things, counted on from the times that they stand for.
function span(whole) {
  for (const [size, name, smaller, less] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / smaller);
      return `${Math.floor(whole / size)} ${name}${rest ? ` ${rest} ${less}` : ""}`;
    }
  }
  return `${whole} s`;
}

// By the server's clock, whatever the browser's says.
const ahead = Date.now() - Date.parse(document.querySelector(".foot time").dateTime);

function age() {
  const now = Date.now() - ahead;
  for (const time of document.querySelectorAll("time[data-age]")) {
    const passed = (now - Date.parse(time.dateTime)) / 1000;
    const told = span(Math.floor(Math.abs(passed)));
    const text = time.dataset.age === "since" ? told : passed >= 0 ? `${told} ago` : `in ${told}`;
    if (time.textContent !== text) time.textContent = text;
  }
}

// What only a script can offer: ticking all, how many are ticked, copying.
function dress() {
  const all = document.getElementById("all");
  if (all) all.hidden = false;
  count();
  for (const text of document.querySelectorAll("pre[data-copy]")) {
    if (text.nextElementSibling || !navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.own = "";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    text.after(button);
  }
  age();
}

function boxes() {
  return [...document.querySelectorAll("input[name=id][form=ticked]")];
}

function count() {
  const told = document.getElementById("ticked-count");
  if (!told) return;
  const ticked = boxes().filter((box) => box.checked).length;
  const text = ticked ? `${ticked} ticked:` : "Ticked jobs:";
  if (told.textContent !== text) told.textContent = text;
  for (const button of document.querySelectorAll("#ticked button")) {
    if (button.disabled !== !ticked) button.disabled = !ticked;
  }
  const all = document.getElementById("all");
  if (all) {
    all.checked = ticked > 0 && ticked === boxes().length;
    all.indeterminate = ticked > 0 && !all.checked;
  }
}

// An address without the fields that were left empty.
document.addEventListener("formdata", (event) => {
  if (event.target.getAttribute("method") !== "get") return; // its `method` is a field
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});

document.addEventListener("change", (event) => {
  if (event.target.id === "all") for (const box of boxes()) box.checked = event.target.checked;
  count();
});

// What was just done is told once: neither a reload nor the next refresh tells it again.
const place = new URL(location.href);
for (const name of ["did", "n", "left"]) place.searchParams.delete(name);
if (place.href !== location.href) history.replaceState(null, "", place);

if (choice) {
  const kept = localStorage.getItem(KEY);
  if ([...choice.options].some((option) => option.value === kept)) choice.value = kept;
  choice.addEventListener("change", () => {
    localStorage.setItem(KEY, choice.value);
    plan();
  });
  document.getElementById("refresh").hidden = false;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else if (seconds()) look();
  });
  plan();
}
dress();
setInterval(age, 1000);
