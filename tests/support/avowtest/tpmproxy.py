"""A TPM for several clients at once, slow where it matters: in front of a swtpm, which serves one connection at a time.

Commands of all clients go one after another, as through a kernel's resource manager. A quote waits before it is
passed on, so that what others do meanwhile is in the PCRs that it quotes: the worst case of a slow TPM on a busy host.

usage: python -m avowtest.tpmproxy UPSTREAM-SOCKET LISTEN-SOCKET QUOTE-DELAY-MS
"""

import os
import socket
import struct
import sys
import threading
import time

TPM_CC_QUOTE = 0x158  # TPM 2.0 Part 2, 6.5.2
HEADER = 10  # tag, size, command or response code


def read_exactly(s: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        got = s.recv(n - len(data))
        if not got:
            raise EOFError
        data += got
    return data


def read_message(s: socket.socket) -> bytes:
    head = read_exactly(s, HEADER)
    (size,) = struct.unpack(">I", head[2:6])
    return head + read_exactly(s, size - HEADER)


class Proxy:
    def __init__(self, upstream: str, listen: str, quote_delay_ms: int):
        self.delay = quote_delay_ms / 1000
        self.lock = threading.Lock()
        self.tpm = socket.socket(socket.AF_UNIX)
        self.tpm.connect(upstream)
        # The control channel is not in the way of commands.
        for name in (listen, listen + ".ctrl"):
            if os.path.lexists(name):
                os.unlink(name)
        os.symlink(upstream + ".ctrl", listen + ".ctrl")
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(listen)
        self.server.listen(16)

    def serve(self) -> None:
        while True:
            client, _ = self.server.accept()
            threading.Thread(target=self.client, args=(client,), daemon=True).start()

    def client(self, client: socket.socket) -> None:
        with client:
            try:
                while True:
                    command = read_message(client)
                    (code,) = struct.unpack(">I", command[6:10])
                    if code == TPM_CC_QUOTE:
                        time.sleep(self.delay)
                    with self.lock:
                        self.tpm.sendall(command)
                        response = read_message(self.tpm)
                    client.sendall(response)
            except (EOFError, OSError):
                return


def main(argv: list[str]) -> None:
    proxy = Proxy(argv[1], argv[2], int(argv[3]))
    print("ready", flush=True)
    proxy.serve()


if __name__ == "__main__":
    main(sys.argv)
