// A page on disk may start no worker: one in a hidden frame lets its search work as on a server.
if (location.protocol === "file:") {
  const loaded = (view, url) =>
    new Promise((resolve, reject) => {
      const script = view.document.createElement("script");
      Object.assign(script, { src: url, onload: resolve, onerror: reject });
      view.document.body.append(script);
    });

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html><body></body>";
      this.view = new Promise((resolve) => {
        frame.onload = async () => {
          const view = frame.contentWindow;
          view.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          view.importScripts = async (...urls) => {
            for (const each of urls) await loaded(view, each);
          };
          await loaded(view, url);
          resolve(view);
        };
      });
      document.body.append(frame);
    }

    postMessage(data) {
      this.view.then((view) => view.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
