"use strict";
window.addEventListener("error", (event) => { document.documentElement.dataset.error = event.message; });
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const image = (source, alt) => {
    const element = make("img");
    element.src = source;
    element.alt = alt;
    return element;
  };

  // Tables.
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const order = (row) => row.cells[column].dataset.order;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [order(a), order(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const read = (value) => Number(value.replace("inf", "Infinity"));
        const numbers = heading.classList.contains("words") ? x.localeCompare(y) : read(x) - read(y) || 0;
        return direction * numbers;
      });
      headings.forEach((one) => one.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      table.tBodies[0].append(...rows);
    }));
  }

  // Samples.
  const gallery = document.getElementById("gallery");
  const groups = new Map();
  data.conditions.forEach((condition, index) => {
    if (!groups.has(condition.guidance)) groups.set(condition.guidance, []);
    groups.get(condition.guidance).push(index);
  });

  const letters = (text, from, into) => {
    for (let at = 0; at < text.length;) {
      const count = Math.min(10 - (from + at) % 10, text.length - at);
      const ten = make("span", "ten");
      for (const letter of text.slice(at, at + count)) {
        ten.append(make("span", "ACGT".includes(letter.toUpperCase()) ? `base-${letter.toUpperCase()}` : "", letter));
      }
      into.append(ten);
      at += count;
    }
  };

  const written = (sample) => {
    const string = make("div", "string");
    let from = 0;
    for (const [kind, text] of sample.text) {
      if (data.layout.in_tens && kind === "plain") {
        letters(text, from, string);
        from += text.length;
      } else {
        string.append(make("span", kind, text));
      }
    }
    if (sample.more) string.append(make("span", "mark", ` … and ${sample.more.toLocaleString("en")} characters more`));
    return string;
  };

  const card = (sample) => {
    const element = make("article", sample.valid ? "sample" : "sample invalid");
    if ("picture" in sample) {
      const alt = sample.text.map(([, text]) => text).join("") || "a sample";
      element.append(sample.picture ? image(sample.picture, alt) : make("div", "none", "not valid"));
    }
    if (!data.layout.pictures_alone || !("picture" in sample)) element.append(written(sample));
    const details = make("div", "details");
    if (sample.value !== null) {
      const value = make("span", "", `${data.property} `);
      value.append(make("b", "", sample.value));
      details.append(value);
    }
    if (!sample.valid) details.append(make("span", "bad", "not valid"));
    else if (sample.novel !== null) details.append(make("span", sample.novel ? "novel" : "", sample.novel ? "novel" : "known"));
    for (const [name, text] of sample.notes) details.append(make("span", "", `${name} ${text}`));
    element.append(details);
    return element;
  };

  const choose = (index) => {
    const condition = data.conditions[index];
    const buttons = (box, entries, pressed) => box.replaceChildren(...entries.map(([name, title, target]) => {
      const button = make("button", "", name);
      button.type = "button";
      button.title = title;
      button.setAttribute("aria-pressed", String(pressed(target)));
      button.addEventListener("click", () => {
        choose(target);
        box.querySelector('[aria-pressed="true"]').focus();
      });
      return button;
    }));
    const name = (one) => (one.gamma === null ? one.title : `γ = ${one.gamma}`);
    const own = groups.get(condition.guidance);
    const several = groups.size > 1;
    buttons(document.getElementById("guidance"), several ? [...groups].map(([key, members]) => {
      const same = members.find((one) => data.conditions[one].gamma === condition.gamma);
      return [key, key, same ?? members[0]];
    }) : [], (target) => own.includes(target));
    buttons(document.getElementById("gamma"), own.map((one) => [name(data.conditions[one]), data.conditions[one].title, one]), (target) => target === index);
    const count = condition.samples.length;
    const total = condition.total.toLocaleString("en");
    document.getElementById("shown").textContent = `${condition.title}: the first ${count} of ${total} samples of seed ${condition.seed}, as they were drawn. All are in the folder samples.`;
    // Long samples push all else far down the page.
    const few = data.layout.shown_first ?? count;
    gallery.replaceChildren(...condition.samples.map(card));
    if (count > few) {
      const rest = [...gallery.children].slice(few);
      rest.forEach((one) => { one.hidden = true; });
      const more = make("button", "more", `Show all ${count}`);
      more.type = "button";
      more.addEventListener("click", () => {
        rest.forEach((one) => { one.hidden = false; });
        more.remove();
      });
      gallery.append(more);
    }
    gallery.dataset.condition = index;
  };
  choose(data.chosen);

  // States on their way from noise to data.
  const path = data.trajectory;
  if (path) {
    const slider = document.getElementById("step");
    const play = document.getElementById("play");
    const states = document.getElementById("states");
    const pictured = path.seen.length > 0;
    const onlyPictures = data.layout.pictures_alone && pictured;
    if (onlyPictures) states.classList.add("images");
    const last = path.times.length - 1;

    const rows = path.frames.map(() => {
      const row = make("div", `state ${data.layout.style}`);
      const tokens = make("div", "tokens");
      const picture = make("div", "picture");
      if (!onlyPictures) row.append(tokens);
      if (pictured) row.append(picture);
      states.append(row);
      return { tokens, picture };
    });

    const show = (step) => {
      const before = Math.max(step - 1, 0);
      rows.forEach(({ tokens, picture }, sample) => {
        const [now, then] = [path.frames[sample][step], path.frames[sample][before]];
        tokens.replaceChildren(...now.map((token, position) => {
          const unknown = path.drawn && position >= path.drawn[step];
          const kind = unknown ? "mask" : path.kinds[token];
          const fresh = path.drawn ? !unknown && position >= path.drawn[before] : token !== then[position];
          const element = make("span", `token ${kind}${fresh && step ? " changed" : ""}`, kind === "mask" ? "·" : path.tokens[token]);
          if (!unknown) element.title = path.tokens[token];
          return element;
        }));
        if (pictured) {
          const seen = path.seen[sample][step];
          picture.replaceChildren(seen === null ? make("span", "", step < last ? "not valid yet" : "not valid") : image(path.pictures[seen], `sample ${sample + 1} at step ${path.steps[step]}`));
        }
      });
      document.getElementById("time").textContent = `step ${path.steps[step]} of ${path.steps[last]}, t = ${path.times[step].toFixed(2)}`;
      slider.value = step;
      slider.setAttribute("aria-valuetext", `step ${path.steps[step]}, t = ${path.times[step].toFixed(2)}`);
      states.dataset.step = step;
    };

    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "▶";
      play.setAttribute("aria-label", "Play");
    };
    play.addEventListener("click", () => {
      if (timer) return stop();
      if (Number(slider.value) === last) show(0);
      play.textContent = "❚❚";
      play.setAttribute("aria-label", "Pause");
      timer = setInterval(() => {
        show(Math.min(Number(slider.value) + 1, last));
        if (Number(slider.value) === last) stop();
      }, 220);
    });
    slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
    show(last);
  }
  document.documentElement.dataset.ready = "true";
})();
