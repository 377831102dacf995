"""Every conversation has a name and an end, and what it raises is not lost."""

import asyncio
import logging

import pytest

from ocpp16_bridge.conversations import Conversations


def test_conversations_run_beside_each_other_until_their_answers_come() -> None:
    async def scenario() -> list[object]:
        conversations = Conversations(asyncio.get_running_loop())
        heard: list[object] = []
        answers = [conversations.future(), conversations.future()]

        async def ask(answer: "asyncio.Future[object]") -> None:
            heard.append(await answer)

        for answer in answers:
            conversations.start(ask(answer), "ask")
        answers[1].set_result("second")
        answers[0].set_result("first")
        await conversations.end()
        return heard

    assert asyncio.run(scenario()) == []  # none of them had a turn of the loop before the end


def test_a_conversation_goes_on_when_its_answer_comes() -> None:
    async def scenario() -> object:
        conversations = Conversations(asyncio.get_running_loop())
        question, heard = conversations.future(), conversations.future()

        async def ask() -> None:
            heard.set_result(await question)

        conversations.start(ask(), "ask")
        question.set_result("answer")
        async with asyncio.timeout(5):
            return await heard

    assert asyncio.run(scenario()) == "answer"


def test_a_conversation_bears_its_name() -> None:
    async def scenario() -> object:
        conversations = Conversations(asyncio.get_running_loop())
        heard = conversations.future()

        async def tell() -> None:
            task = asyncio.current_task()
            assert task is not None
            heard.set_result(task.get_name())

        conversations.start(tell(), "CALL Reset")
        async with asyncio.timeout(5):
            return await heard

    assert asyncio.run(scenario()) == "CALL Reset"


def test_what_a_conversation_raises_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        conversations = Conversations(asyncio.get_running_loop())
        begun = conversations.future()

        async def fail() -> None:
            begun.set_result(None)
            raise KeyError("of the conversation")

        conversations.start(fail(), "CALL Reset")
        await begun
        await conversations.end()

    asyncio.run(scenario())

    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.ERROR, "conversation CALL Reset failed")]
    assert "of the conversation" in caplog.text


def test_the_end_cancels_what_runs_and_waits_until_it_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[str]:
        conversations = Conversations(asyncio.get_running_loop())
        begun = conversations.future()
        log: list[str] = []

        async def tidy() -> None:
            begun.set_result(None)
            try:
                await conversations.future()
            finally:
                await asyncio.sleep(0)
                log.append("tidied up")

        conversations.start(tidy(), "tidy")
        await begun
        await conversations.end()
        log.append("end")
        return log

    assert asyncio.run(scenario()) == ["tidied up", "end"]
    assert caplog.records == []


def test_what_starts_during_the_end_ends_too() -> None:
    async def scenario() -> set[str]:
        conversations = Conversations(asyncio.get_running_loop())
        begun = conversations.future()

        async def wait() -> None:
            await conversations.future()

        async def start_another() -> None:
            begun.set_result(None)
            try:
                await conversations.future()
            finally:
                conversations.start(wait(), "another")

        conversations.start(start_another(), "first")
        await begun
        await conversations.end()
        return {task.get_name() for task in asyncio.all_tasks()}

    assert "another" not in asyncio.run(scenario())


def test_the_end_without_conversations_is_at_once() -> None:
    async def scenario() -> None:
        await Conversations(asyncio.get_running_loop()).end()

    asyncio.run(scenario())
