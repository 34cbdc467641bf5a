// Puts what happens to an issue into its page, while it is looked at.
const feed = document.querySelector("[data-live]");
if (feed) {
  const source = new EventSource(feed.dataset.live);
  source.addEventListener("entry", (message) => {
    const entry = JSON.parse(message.data);
    if (feed.querySelector(`[data-event="${CSS.escape(entry.event)}"]`)) return;
    const item = document.createElement("li");
    item.dataset.event = entry.event;
    item.className = "new";
    item.append(made("time", entry.time), made("span", entry.text));
    if (entry.comment !== null) item.append(made("blockquote", entry.comment));
    dayOf(entry).querySelector("ul").prepend(item);
  });
}

function dayOf(entry) {
  const day = feed.querySelector(`[data-date="${CSS.escape(entry.date)}"]`);
  if (day) return day;
  const section = made("section", "");
  section.className = "day";
  section.dataset.date = entry.date;
  const list = made("ul", "");
  list.className = "feed";
  section.append(made("h3", entry.day), list);
  feed.prepend(section);
  return section;
}

// Text is only ever text here, never HTML.
function made(name, text) {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}
