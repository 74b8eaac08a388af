// A button that copies, at each example.
for (const figure of document.querySelectorAll("figure")) {
  const button = document.createElement("button");
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(figure.querySelector("pre").textContent);
    button.textContent = "copied";
  });
  figure.append(button);
}
