"use strict";
/* Counts and saves the corrections that a person made. */
(() => {
  const songs = [...document.getElementById("list").children], tools = document.getElementById("tools");
  const corrected = () => songs.filter((song) => song.querySelector("select").value !== song.dataset.genre);

  function count() {
    const found = corrected().length;
    tools.querySelector("output").textContent = `${found} correction${found === 1 ? "" : "s"}`;
  }

  tools.querySelector("button").addEventListener("click", () => {
    const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
    const rows = corrected().map((song) => [song.dataset.name, song.querySelector("select").value, song.dataset.genre]);
    const text = [["track_id", "genre", "was"], ...rows].map((row) => `${row.map(quoted).join(",")}\n`).join("");
    const link = document.createElement("a");
    link.download = "corrections.csv";
    link.href = URL.createObjectURL(new Blob([text], {type: "text/csv"}));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  document.addEventListener("change", count);
  tools.hidden = false;
  count();
})();
