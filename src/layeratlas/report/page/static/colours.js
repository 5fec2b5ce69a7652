// Colour scales that people with colour-blindness can read, and numbers as people read them.

// Nine colours of viridis (van der Walt and Smith, 2015; public domain), from dark to light, and a scale around zero.
const SEQUENTIAL = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"].map(rgb);
const DIVERGING = ["#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b"].map(rgb);
const MISSING = [150, 150, 150];

function rgb(hex) {
  return [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
}

function mixed(scale, share) {
  if (!Number.isFinite(share)) return MISSING;
  const place = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
  const low = Math.min(Math.floor(place), scale.length - 2);
  return scale[low].map((one, i) => Math.round(one + (scale[low + 1][i] - one) * (place - low)));
}

// The ends of a colour scale: from zero if all values are positive, symmetric if `diverging`.
function endsOf(values, diverging) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (diverging) {
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return [-most, most];
  }
  return [Math.min(0, low), high > Math.min(0, low) ? high : low + 1];
}

function shown(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 5e-4 || size >= 1e6) return size < 1e-12 ? "0" : value.toExponential(2);
  return size >= 1 ? String(Number(value.toPrecision(4))) : value.toFixed(3);
}

function shownP(p) {
  if (p === null || p === undefined || !Number.isFinite(p)) return "–";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

function layerName(name) {
  return name.startsWith("block_") ? name.slice(6) : name;
}
