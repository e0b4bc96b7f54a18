// A button that switches between light and dark. Without scripts the page follows the system.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const recall = () => { try { return localStorage.getItem("offjax-theme"); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem("offjax-theme", theme); } catch { /* for this visit only */ } };
  const now = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "theme";
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    button.textContent = now() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${button.textContent.toLowerCase()} colours`);
  };
  button.addEventListener("click", () => {
    show(now() === "dark" ? "light" : "dark");
    keep(root.dataset.theme);
  });
  system.addEventListener("change", () => show());
  show(recall());
  document.querySelector("header").prepend(button);
})();
