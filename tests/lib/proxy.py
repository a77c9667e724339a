"""A network that can be broken: a proxy before a server, on a Unix socket or a TCP port, whose faults are switched while it runs."""

import asyncio
import shutil
import socket
import struct
import threading

from lib.process import temporary_directory

UP, DOWN = "up", "down"  # to the server, to the client
BOTH = (UP, DOWN)

COMMIT = b"COMMIT\0"  # as the text of a Query or Parse, and as the tag of its answer
READY = b"Z\0\0\0\5I"  # PostgreSQL: ready, outside a transaction

_RST = struct.pack("ii", 1, 0)


class _Link:
    """One client's connection and ours to the server; a reading and a writing task for each direction."""

    def __init__(self, proxy, client, server):
        self.proxy = proxy
        self.ends = {UP: (client[0], server[1]), DOWN: (server[0], client[1])}
        self.task = None
        self.lost = set()  # directions whose bytes go nowhere for good
        self.cut_at = None  # an answer that must not arrive: the link is cut when it was seen
        self.tail = dict.fromkeys(BOTH, b"")

    async def run(self):
        self.task = asyncio.current_task()
        readers, writers = [], []
        for direction in BOTH:
            queue = asyncio.Queue(16)  # then the sender's own buffers fill, as in a real network
            readers.append(asyncio.ensure_future(self._read(direction, queue)))
            writers.append(asyncio.ensure_future(self._write(direction, queue)))
        try:
            await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in readers + writers:
                task.cancel()
            await asyncio.gather(*readers, *writers, return_exceptions=True)
            self.close()

    async def _read(self, direction, queue):
        reader = self.ends[direction][0]
        try:
            while data := await reader.read(65536):
                await queue.put((asyncio.get_running_loop().time() + self.proxy.latency_s[direction], data))
        except OSError:
            pass  # its end, as any other
        await queue.put((0, b""))

    async def _write(self, direction, queue):
        writer = self.ends[direction][1]
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
            await self.proxy.flowing[direction].wait()
            if direction in self.lost:
                continue
            if not data or self._cuts(direction, data):
                return
            if not (direction == DOWN and self.cut_at):
                writer.write(data)
                await writer.drain()

    def _cuts(self, direction, data):
        """Looks for the request whose answer shall be lost, then for its answer."""
        seen = self.tail[direction] + data
        self.tail[direction] = seen[-32:]
        if direction == UP and not self.cut_at:
            self.cut_at = self.proxy.trap(seen)
            self.tail[DOWN] = b""
        elif direction == DOWN and self.cut_at and any(answer in seen for answer in self.cut_at):
            self.proxy.lost_answers += 1
            return True
        return False

    def close(self, rst=False):
        for _, writer in self.ends.values():
            sock = writer.get_extra_info("socket")
            if rst and sock is not None and sock.family == socket.AF_INET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            writer.transport.abort()


class Proxy:
    """Stands before `server`: the path of a Unix socket, or (host, port).

    It listens on `path`, a Unix socket named as the server's own in a folder of its own, and with tcp=True on `port` as well.
    Faults are for all connections, and last until heal(); each direction may have its own.

        proxy.cut()              every connection is closed, now; new ones work
        proxy.refuse()           and new ones are closed at once
        proxy.silence(UP)        nothing gets through and nobody is told; what was sent arrives after heal()
        proxy.silence(lost=True) the same, and connections of before are never heard of again
        proxy.latency(500, DOWN) milliseconds, one way
        proxy.lose_answer()      the next COMMIT reaches PostgreSQL, and its client is cut off before the answer arrives

    lost_answers counts how often the last happened. All methods may be called from any thread.
    """

    def __init__(self, server, tcp=False):
        self.server = server
        self.tcp = tcp
        self.dir = temporary_directory("proxy")
        self.path = self.dir / (".sock" if isinstance(server, tuple) else server.name)
        self.port = 0
        self.links = set()
        self.latency_s = dict.fromkeys(BOTH, 0)
        self.refusing = False
        self.traps = []
        self.lost_answers = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True)
        self.thread.start()
        self._call(self._listen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def _call(self, function, *args):
        """Run a coroutine function in the proxy's own thread, and wait."""
        return asyncio.run_coroutine_threadsafe(function(*args), self.loop).result(30)

    async def _listen(self):
        self.flowing = {direction: asyncio.Event() for direction in BOTH}
        await self._heal()
        self.listeners = [await asyncio.start_unix_server(self._serve, self.path)]
        if self.tcp:
            self.listeners.append(await asyncio.start_server(self._serve, "127.0.0.1", 0))
            self.port = self.listeners[-1].sockets[0].getsockname()[1]

    async def _serve(self, *client):
        link = None
        try:
            if self.refusing:
                raise ConnectionError
            connect = asyncio.open_connection if isinstance(self.server, tuple) else asyncio.open_unix_connection
            where = self.server if isinstance(self.server, tuple) else (self.server,)
            link = _Link(self, client, await connect(*where))
            self.links.add(link)
            await link.run()
        except OSError:
            pass  # refused
        finally:
            client[1].transport.abort()
            self.links.discard(link)

    def trap(self, request):
        """Of a link: which answers to this request must not arrive, if any."""
        for wanted, answers in self.traps:
            if wanted in request:
                self.traps.remove((wanted, answers))
                return answers
        return None

    def url(self, url):
        """A server's URL as it is through the proxy (on its Unix socket; over TCP: see port)."""
        return url.replace(str(self.server.parent), str(self.dir))

    # --- faults ---

    def cut(self):
        self._call(self._cut)

    async def _cut(self):
        for link in list(self.links):
            link.close(rst=True)
            link.task.cancel()

    def refuse(self):
        self.refusing = True
        self.cut()

    def silence(self, *directions, lost=False, noticed_s=None):
        """noticed_s: of lost connections, so much later the client's kernel gives up, as keepalive and tcp_user_timeout have it on TCP."""
        self._call(self._silence, directions or BOTH, lost, noticed_s)

    async def _silence(self, directions, lost, noticed_s):
        for direction in directions:
            self.flowing[direction].clear()
        for link in self.links if lost else ():
            link.lost.update(directions)
            if noticed_s is not None:
                self.loop.call_later(noticed_s, link.ends[DOWN][1].transport.abort)

    def latency(self, ms, *directions):
        for direction in directions or BOTH:
            self.latency_s[direction] = ms / 1000

    def lose_answer(self, request=COMMIT, answers=(COMMIT, READY), times=1):
        """request: bytes to the server. answers: bytes of which one shows that it was carried out, as in b"" for any."""
        self._call(self._lose_answer, [(request, tuple(answers))] * times)

    async def _lose_answer(self, traps):
        self.traps += traps

    def heal(self):
        """No faults any more. Connections that were cut or lost remain so."""
        self._call(self._heal)

    async def _heal(self):
        self.refusing = False
        self.traps.clear()
        self.latency(0)
        for event in self.flowing.values():
            event.set()

    def remove(self):
        self._call(self._close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    async def _close(self):
        for listener in self.listeners:
            listener.close()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
