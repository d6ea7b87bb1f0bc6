// Keys for those who annotate much; the page works without them.
"use strict";
const press = (id) => document.getElementById(id)?.click();
const choose = (side, number) => {
  const radio = document.querySelector(`input[name=${side}][value="${number}"]`);
  if (radio) radio.checked = true;
  return radio;
};
const correct = () => {
  const form = document.getElementById("correct");
  form?.scrollIntoView({ block: "nearest" });
  (form?.querySelector(".tool:has(input:checked) textarea") ?? form?.querySelector("input"))?.focus();
};
document.addEventListener("keydown", (event) => {
  const typing = /^(TEXTAREA|INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== "radio";
  if (typing) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form?.querySelector("button")?.click();
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  if (digit) {
    choose(event.shiftKey ? "worse" : "better", digit[1]);
  } else if (event.key === "c") {
    event.preventDefault();
    correct();
  } else {
    press({ a: "accept", n: "no-tool", s: "skip", p: "save-preference" }[event.key]);
  }
});
