// The colours of genres and of the spectrogram, in light and in dark.

const darkness = matchMedia("(prefers-color-scheme: dark)");

/** Calls `redraw` whenever the system changes between light and dark. */
export function onTheme(redraw) {
  darkness.addEventListener("change", redraw);
}

/** The hue of a genre by its place in the model's list: neighbours are far apart on the circle. */
function hue(place) {
  return (28 + 137.508 * place) % 360;
}

/** The colour of a genre, for a canvas. */
export function genreColour(place) {
  return `oklch(${styled("--genre-lightness")} ${styled("--genre-chroma")} ${hue(place)})`;
}

/** Gives an element the colour of a genre, which the style sheet uses as var(--genre). */
export function tint(element, place) {
  element.style.setProperty("--hue", hue(place));
  element.classList.add("tint");
  return element;
}

const RAMPS = {
  dark: [[16, 20, 30], [44, 20, 92], [122, 34, 128], [205, 62, 108], [250, 132, 96], [254, 214, 152], [252, 252, 222]],
  light: [[255, 255, 255], [237, 232, 250], [198, 182, 233], [146, 112, 200], [100, 58, 152], [58, 20, 92], [24, 6, 40]],
};

/** Red, green and blue for each of the 256 levels of the spectrogram. */
export function ramp() {
  const stops = darkness.matches ? RAMPS.dark : RAMPS.light;
  return Array.from({ length: 256 }, (_, level) => {
    const place = (level / 255) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2);
    return stops[below].map((value, channel) => value + (place - below) * (stops[below + 1][channel] - value));
  });
}

/** A colour of the style sheet, such as "--line". */
export function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
