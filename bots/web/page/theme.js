// Runs before the first paint, so that a chosen theme does not flash. Kept tiny: it blocks.
(() => {
  try {
    const chosen = localStorage.getItem("it0.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage is switched off: the system's theme counts.
  }
})();
