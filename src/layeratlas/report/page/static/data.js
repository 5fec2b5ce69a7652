// Reads what Python packed: see packing.py for the layout.

async function unpacked(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const start = Math.ceil((4 + length) / 8) * 8;
  const kinds = { Float64: Float64Array, Float32: Float32Array, Int32: Int32Array, Uint32: Uint32Array, Uint16: Uint16Array, Uint8: Uint8Array };
  const isArray = (value) => value !== null && typeof value === "object" && Array.isArray(value.$array);
  const revived = (key, value) => {
    if (!isArray(value)) return value;
    const [kind, offset, size] = value.$array;
    return new kinds[kind](buffer, start + offset, size);
  };
  return JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)), revived);
}
