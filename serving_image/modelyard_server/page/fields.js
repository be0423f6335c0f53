/** A field for each feature: `read` gives its value, undefined if it is left out, or throws what is wrong with it. */
const NUMBERS = ["number", "integer", "bucket"];

const numberField = feature => {
  const input = make("input", {
    type: "number", step: feature.type === "integer" ? 1 : "any", min: feature.minimum, max: feature.maximum,
    value: feature.example ?? undefined, placeholder: feature.default ?? undefined,
  });
  const read = () => {
    if (input.validity.badInput) throw new Error("not a number");
    return input.value === "" ? undefined : Number(input.value);
  };
  return { main: input, parts: [input], read };
};

const textField = (feature, type) => {
  const input = make("input", { type, value: feature.example ?? undefined, placeholder: feature.default ?? undefined, autocomplete: "off" });
  const parts = [input];
  if (feature.choices) {
    const list = make("datalist", { id: `choices-${feature.name}` }, ...feature.choices.map(value => make("option", { value })));
    input.setAttribute("list", list.id);
    parts.push(list);
  }
  return { main: input, parts, read: () => input.value === "" ? undefined : input.value };
};

const booleanField = feature => {
  const rest = feature.default === null ? "choose" : `left out: ${feature.default}`;
  const choices = [["", rest], ["true", "true"], ["false", "false"]];
  const select = make("select", {}, ...choices.map(([value, text]) => make("option", { value }, text)));
  if (feature.example !== null) select.value = String(feature.example);
  return { main: select, parts: [select], read: () => select.value === "" ? undefined : select.value === "true" };
};

/** Words one by one: Enter adds one, Backspace in the empty field takes the last away. */
const listField = feature => {
  let words = feature.example ?? [];
  let given = feature.example !== null;
  const { main: input, parts } = textField({ ...feature, example: null, default: null }, "text");
  const add = make("button", { type: "button" }, "Add");
  const shown = make("ul", { class: "words", "aria-label": `Words of ${feature.name}` });
  const show = changed => {
    words = changed;
    shown.replaceChildren(...words.map((word, place) => {
      const remove = make("button", { type: "button", "aria-label": `Remove ${word}` }, "×");
      remove.addEventListener("click", () => { show(words.filter((_, other) => other !== place)); input.focus(); });
      return make("li", {}, word, remove);
    }));
  };
  const take = () => {
    if (input.value === "") return;
    given = true;
    show([...words, input.value]);
    input.value = "";
  };
  add.addEventListener("click", () => { take(); input.focus(); });
  input.addEventListener("keydown", event => {
    if (event.key === "Enter" && input.value !== "") { event.preventDefault(); take(); }
    if (event.key === "Backspace" && input.value === "" && words.length) show(words.slice(0, -1));
  });
  show(words);
  const read = () => { take(); return given || words.length ? words : undefined; };
  return { main: input, parts: [make("div", { class: "row" }, input, add), ...parts.slice(1), shown], read };
};

/** Show numbers as a picture, from the least, dark, to the most. */
const paint = (canvas, values, height, width) => {
  canvas.height = height;
  canvas.width = width;
  const flat = values.flat(Infinity), low = Math.min(...flat), span = Math.max(...flat) - low || 1;
  const pixels = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    const grey = 255 * (flat[place] - low) / span;
    pixels.data.set([grey, grey, grey, 255], 4 * place);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
};

const tensorField = feature => {
  const input = make("textarea", { rows: 4, spellcheck: "false" });
  if (feature.example !== null) input.value = JSON.stringify(feature.example);
  const read = () => {
    if (input.value.trim() === "") return undefined;
    try {
      return JSON.parse(input.value);
    } catch {
      throw new Error("not a list of numbers in brackets");
    }
  };
  const [height, width] = feature.shape;
  const isFlat = height * width <= 1 << 16 && (feature.shape.length === 2 || (feature.shape.length === 3 && feature.shape[2] === 1));
  if (!isFlat) return { main: input, parts: [input], read };
  const canvas = make("canvas", { role: "img", "aria-label": `${feature.name} as a picture` });
  const show = () => {
    try {
      const values = [read() ?? []].flat(Infinity);
      if (values.length === height * width) paint(canvas, values, height, width);
    } catch {
      // while it is typed it is no list: the last picture stays
    }
  };
  input.addEventListener("input", show);
  show();
  return { main: input, parts: [input, make("div", { class: "picture" }, canvas)], read };
};

const imageField = feature => {
  let content = feature.example?.b64;
  const input = make("input", { type: "file", accept: "image/jpeg,image/png" });
  const canvas = make("canvas", { role: "img", "aria-label": `The picture for ${feature.name}`, hidden: content === undefined });
  const told = make("span", { class: "note" }, content === undefined ? "" : "A picture of the training, until you choose one.");
  const show = async blob => {
    try {
      const picture = await createImageBitmap(blob);
      [canvas.width, canvas.height, canvas.hidden] = [picture.width, picture.height, false];
      canvas.getContext("2d").drawImage(picture, 0, 0);
    } catch {
      canvas.hidden = true;
    }
  };
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (!file) return;
    const data = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let start = 0; start < data.length; start += 0x8000) text += String.fromCharCode(...data.subarray(start, start + 0x8000));
    content = btoa(text);
    told.textContent = `${file.name}, ${bytes(file.size)}`;
    show(file);
  });
  if (content !== undefined) show(new Blob([Uint8Array.from(atob(content), character => character.charCodeAt(0))]));
  const read = () => content === undefined ? undefined : { b64: content };
  return { main: input, parts: [input, make("div", { class: "picture" }, canvas, told)], read };
};

const widgetOf = feature => {
  if (NUMBERS.includes(feature.type)) return numberField(feature);
  const make = { boolean: booleanField, list: listField, tensor: tensorField, image: imageField }[feature.type];
  return make ? make(feature) : textField(feature, feature.type === "date" ? "date" : "text");
};

const fields = new Map(model.features.map(feature => {
  const widget = widgetOf(feature), { name } = feature;
  const wrong = make("p", { class: "wrong", id: `wrong-${name}` });
  const note = make("p", { class: "note", id: `note-${name}` }, [feature.description, feature.expects].filter(Boolean).join(" · "));
  widget.main.id = `feature-${name}`;
  widget.main.name = name;
  widget.main.setAttribute("aria-describedby", `${note.id} ${wrong.id}`);
  if (feature.required) widget.main.setAttribute("aria-required", "true");
  const label = make("label", { for: widget.main.id }, feature.required ? name : `${name} (optional)`);
  at("form").append(make("div", { class: "field" }, label, note, ...widget.parts, wrong));
  return [name, { ...widget, wrong }];
}));
const button = make("button", { type: "submit", class: "main" }, "Predict");
at("form").append(button);
