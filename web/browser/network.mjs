// A network that can be lost: what the browser says and hears goes through here, byte by byte, and can be cut between the two.
import net from "node:net";

export class Network {
  #sockets = new Set();
  #down = false;
  #swallow = null;

  static async before(url) {
    const { hostname, port } = new URL(url);
    const network = new Network();
    network.server = net.createServer((client) => network.#carry(client, hostname, Number(port)));
    await new Promise((listening) => network.server.listen(0, "127.0.0.1", listening));
    network.url = `http://127.0.0.1:${network.server.address().port}`;
    return network;
  }

  #carry(client, host, port) {
    if (this.#down) {
      client.destroy();
      return;
    }
    const service = net.connect(port, host);
    const end = () => {
      client.destroy();
      service.destroy();
      this.#sockets.delete(end);
    };
    this.#sockets.add(end);
    let lost = false;
    client.on("data", (bytes) => {
      if (this.#swallow !== null && bytes.includes(this.#swallow.request)) {
        lost = true;
      }
      service.write(bytes);
    });
    service.on("data", (bytes) => {
      if (lost) {
        // it was heard and answered, and nobody will know
        this.#swallow?.heard(bytes.toString("latin1"));
        this.#swallow = null;
        end();
      } else {
        client.write(bytes);
      }
    });
    for (const socket of [client, service]) {
      socket.on("error", end);
      socket.on("close", end);
    }
  }

  /** Every connection breaks; new ones are refused until `restore`. */
  lose() {
    this.#down = true;
    this.cut();
  }

  restore() {
    this.#down = false;
  }

  /** Every connection breaks, once. */
  cut() {
    for (const end of [...this.#sockets]) end();
  }

  /** Loses the answer to the next request that begins with `request`; the answer. */
  loseAnswerTo(request) {
    return new Promise((heard) => {
      this.#swallow = { request, heard };
    });
  }

  close() {
    this.cut();
    this.server.close();
  }
}
