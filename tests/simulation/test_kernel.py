"""Virtual time: who is killed does not tidy up, who freezes goes on later, and nobody hears an answer that came too late."""

from refill.simulate.kernel import Kernel, Process, suspend


async def asleep(process: Process, seconds: float) -> None:
    await suspend(lambda task: process.kernel.at(seconds, task.step, task.wait))


def test_a_killed_process_runs_no_finally() -> None:
    kernel, told = Kernel(1), []
    process = Process(kernel, "server")

    async def work() -> None:
        try:
            told.append("began")
            await asleep(process, 10)
            told.append("woke")
        finally:
            told.append("tidied up")

    process.start(work())
    kernel.at(5, process.kill)
    kernel.run(100)
    assert told == ["began"]
    assert process.up  # it booted again


def test_a_frozen_process_goes_on_where_it_was() -> None:
    kernel, told = Kernel(1), []
    process = Process(kernel, "worker")

    async def work() -> None:
        await asleep(process, 10)
        told.append(kernel.now)

    process.start(work())
    kernel.at(5, process.freeze, 600)
    kernel.run(1000)
    assert told == [605]


def test_an_answer_after_the_time_out_reaches_nobody() -> None:
    kernel, told = Kernel(1), []
    process = Process(kernel, "worker")

    async def work() -> None:
        async def ask() -> object:
            def register(task) -> None:  # type: ignore[no-untyped-def]
                kernel.at(30, task.step, task.wait, None, TimeoutError())
                kernel.at(40, task.step, task.wait, "too late")

            return await suspend(register)

        try:
            told.append(await ask())
        except TimeoutError:
            told.append("time-out")
            await asleep(process, 100)
            told.append("done")

    process.start(work())
    kernel.run(1000)
    assert told == ["time-out", "done"]
    assert kernel.errors == []


def test_what_escapes_from_a_task_is_kept() -> None:
    kernel = Kernel(1)
    process = Process(kernel, "worker")

    async def work() -> None:
        raise ValueError("this must not happen")

    process.start(work())
    assert kernel.errors == ["worker: ValueError: this must not happen"]
