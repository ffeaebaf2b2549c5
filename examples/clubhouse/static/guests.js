// Shows the guests as they come and go. Without this script, the list is that of the last load.
const list = document.getElementById("guests");
const count = document.getElementById("guest-count");

const events = new EventSource(list.dataset.events);
events.addEventListener("guests", (event) => {
  const names = JSON.parse(event.data);
  list.replaceChildren(...names.map(item));
  count.textContent = names.length;
});
// The session has ended: the browser does not connect again.
events.addEventListener("error", () => {
  if (events.readyState === EventSource.CLOSED) list.dataset.ended = "";
});

function item(name) {
  const item = document.createElement("li");
  const isolated = document.createElement("bdi");
  isolated.textContent = name;
  item.append(isolated);
  return item;
}
