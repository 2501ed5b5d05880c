"""One recorder process for each NUMA node, all measuring at the same time, as a host that serves from every node does.

Each process is started afresh (not forked: pages shared with a parent would fault when they are written) and kept on
its node's CPUs from the start. It loads and warms up, says that it is ready, and waits until all the others are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from . import validity
from .cpus import cores_of_each_node
from .errors import INVALID_RUN, BenchError
from .measure import Progress, Say, ignore
from .model.cache import ensure_model
from .recorder import ONE, PER_NODE, Request, check, record

INSTANCES = (ONE, PER_NODE)


def split(request: Request) -> list[tuple[str, Request]]:
    """(suffix for the name of the result file, request) of each instance; the suffix is empty for a single one."""
    if request.instances != PER_NODE:
        return [("", request)]
    if request.scope not in (None, "node", "cpus"):
        raise BenchError(f"--instances per-node: each runs on one node, so --scope {request.scope} does not go with it")
    by_node = cores_of_each_node(request.cpus)
    if len(by_node) > 1 and request.inject is not None:
        raise BenchError("--inject goes with --instances one: injectors of several instances would meet")
    if request.threads is not None and request.threads > min(map(len, by_node.values())):
        fewest = min(by_node, key=lambda node: len(by_node[node]))
        cores = len(by_node[fewest])
        has = "one free core" if cores == 1 else f"{cores} free cores"
        raise BenchError(f"--threads {request.threads}: node {fewest} has {has} for its instance; use at most that")
    if len(by_node) == 1:
        return [("", replace(request, scope=request.scope or "node"))]
    return [
        (f"-node{node}", replace(request, cpus=tuple(cores), scope="node", instance=(index, len(by_node))))
        for index, (node, cores) in enumerate(by_node.items())
    ]


def path_of(path: str, suffix: str) -> str:
    """The file of one instance: run.json with "-node1" is run-node1.json."""
    stem, extension = os.path.splitext(path)
    return f"{stem}{suffix}{extension}"


def record_all(requests: Sequence[Request], say: Say = ignore, progress: Progress = ignore) -> list[dict[str, Any]]:
    """The result of each request. Several run at the same time; where one fails, all end and its error is raised.

    `progress` gets the iterations of the slowest.
    """
    if len(requests) == 1:
        return [record(requests[0], say, progress)]
    for request in requests:
        check(request)
    # Once, before the processes exist: each would take the others, as they load, for load on the host.
    # A request has all cores of its node, and its threads take the first of them.
    look = validity.look_before_start(
        [cpu for one in requests for cpu in (one.cpus or ())[: one.threads]], requests[0].anyway
    )
    for event in look:
        say("this run will not count for a verdict: {}".format(event["detail"]))
    ensure_model(requests[0].model, say, requests[0].precision)
    starter = multiprocessing.get_context("spawn")
    children, pipes = [], []
    try:
        for request in requests:
            ours, theirs = starter.Pipe()
            child = starter.Process(target=_instance, args=(request, look, theirs), daemon=True)
            child.start()
            theirs.close()  # so that the end of the child is the end of the pipe
            children.append(child)
            pipes.append(ours)
        return _follow(requests, pipes, say, progress)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()


def _follow(requests: Sequence[Request], pipes: list[Connection], say: Say, progress: Progress) -> list[dict[str, Any]]:
    """Start all once all are ready, pass their progress on, and gather their results."""
    done = dict.fromkeys(range(len(pipes)), -1)
    results: dict[int, dict[str, Any]] = {}
    numbers = {id(pipe): number for number, pipe in enumerate(pipes)}
    waiting = list(pipes)
    while waiting:
        for pipe in wait(waiting):
            assert isinstance(pipe, Connection)
            number = numbers[id(pipe)]
            try:
                kind, what = pipe.recv()
            except (EOFError, OSError):
                line = f"instance {number} ended without a result; run it again, alone, to see why"
                raise BenchError(line, INVALID_RUN) from None
            if kind == "say":
                say(f"instance {number}: {what}")
            elif kind == "failed":
                message, code = what
                raise BenchError(f"instance {number}: {message}", code)
            elif kind == "result":
                results[number] = what
                waiting.remove(pipe)
            else:
                before, done[number] = min(done.values()), what
                if before < 0 <= min(done.values()):
                    for other in pipes:
                        other.send("go")
                if min(done.values()) > before:
                    progress(min(done.values()), requests[0].iterations)
    return [results[number] for number in range(len(pipes))]


def _instance(request: Request, look: list[validity.Event], pipe: Connection) -> None:
    """What a process of its own does. It ends with its parent: then nobody reads the pipe, and sending fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this process

    def tell(done: int, _total: int) -> None:
        pipe.send(("done", done))
        if done == 0:
            pipe.recv()

    try:
        os.sched_setaffinity(0, request.cpus or ())
        result = record(request, lambda line: pipe.send(("say", line)), tell, look)
        pipe.send(("result", result))
    except BenchError as error:
        with suppress(OSError):
            pipe.send(("failed", (str(error), error.code)))
    except (EOFError, OSError) as error:
        with suppress(OSError):
            pipe.send(("failed", (f"{type(error).__name__}: {error}", 3)))
