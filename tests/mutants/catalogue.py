"""The guards, fences, adoptions, re-queues and graces of the recovery code, and who guards them.

A mutant replaces a piece of text that is in its file exactly once. ``killers`` are the tests of
which at least one must turn red, the likeliest first.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]

    def apply(self, text: str) -> str:
        if text.count(self.old) != 1:
            found = text.count(self.old)
            raise LookupError(f"{self.file}: {self.name}: its text is there {found} times")
        return text.replace(self.old, self.new)


JOURNAL = "tests/test_journal.py"
FLOW = "tests/test_flow.py"
RECOVERY = "tests/test_recovery.py"
CRASHES = "tests/test_crashes.py"
OUTCOMES = "tests/test_outcomes.py"
OUTCOMES_OF_BATCHES = "tests/test_outcomes_of_batches.py"
RETRIES = "tests/test_retries.py"
PROVIDER = "tests/test_provider.py"
LIFECYCLE = "tests/test_lifecycle.py"
WEBHOOK = "tests/test_webhook.py"

_CLAIM = [
    Mutant(
        "a second delivery runs the body beside the first",
        "batchq/journal/lua/claim.lua",
        "if is_taken(lease, args.token) then",
        "if false then",
        (f"{JOURNAL}::test_one_run_at_a_time",),
    ),
    Mutant(
        "a delivery of an earlier run runs again",
        "batchq/journal/lua/claim.lua",
        "if nesting < nesting_before or (nesting == nesting_before and retries < retries_before) "
        "then",
        "if false then",
        (f"{JOURNAL}::test_a_delivery_of_an_earlier_run_comes_too_late",),
    ),
    Mutant(
        "a final task runs again",
        "batchq/journal/lua/claim.lua",
        "elseif known[3] then",
        "elseif false then",
        (f"{JOURNAL}::test_a_run_that_has_ended_is_not_run_again",),
    ),
    Mutant(
        "a task that waits for its answers runs again",
        "batchq/journal/lua/claim.lua",
        'elseif tonumber(known[4] or 0) > 0 then\n    return { "WAITING" }\n  end\n  -- A write',
        "end\n  -- A write",
        (f"{JOURNAL}::test_a_task_that_waits_for_answers_is_not_run",),
    ),
    Mutant(
        "a retry of a body that had asked does not wait",
        "batchq/journal/lua/claim.lua",
        "if newer and tonumber(known[4] or 0) > 0 then",
        "if false then",
        (f"{JOURNAL}::test_a_retry_that_was_sent_by_a_body_that_had_asked_waits_too",),
    ),
]

_FENCES = [
    Mutant(
        "a run that was taken over captures all the same",
        "batchq/journal/lua/capture.lua",
        "if not is_current_run(task, token) then",
        "if false then",
        (f"{JOURNAL}::test_a_run_that_was_taken_over_captures_nothing",),
    ),
    Mutant(
        "a run that was taken over writes down its steps",
        "batchq/journal/lua/note.lua",
        "if not is_current_run(KEYS[1], args.token) then",
        "if false then",
        (f"{JOURNAL}::test_only_the_run_itself_notes",),
    ),
    Mutant(
        "a run that was taken over settles its task",
        "batchq/journal/lua/settle.lua",
        "if not is_current_run(task, args.token) then",
        "if false then",
        (JOURNAL,),
    ),
    Mutant(
        "a task that ended is not forgotten while a second delivery of it is kept",
        "batchq/journal/lua/settle.lua",
        "if args.final then",
        "if args.final and not known[3] then",
        (f"{JOURNAL}::test_a_task_that_ended_leaves_no_prompt_though_a_second_delivery_is_kept",),
    ),
    Mutant(
        "a step without its lease advances a batch",
        "batchq/journal/lua/advance.lua",
        "if not holds(KEYS[2], args.token) then",
        "if false then",
        (f"{JOURNAL}::test_only_the_holder_of_the_lease_advances_and_closes_a_batch",),
    ),
    Mutant(
        "a step without its lease closes a batch",
        "batchq/journal/lua/close.lua",
        "if not holds(KEYS[3], args.token) then",
        "if false then",
        (f"{JOURNAL}::test_only_the_holder_of_the_lease_advances_and_closes_a_batch",),
    ),
    Mutant(
        "anybody releases a lease",
        "batchq/journal/lua/release.lua",
        "if not holds(KEYS[1], args.token) then",
        "if false then",
        (f"{JOURNAL}::test_a_stranger_does_not_release",),
    ),
    Mutant(
        "a lease that ran out is not given back to its rightful run",
        "batchq/journal/lua/renew.lua",
        "if KEYS[2] and not is_taken(KEYS[1], args.token) and is_current_run(KEYS[2], args.token) "
        "then",
        "if false then",
        (f"{JOURNAL}::test_the_rightful_run_gets_its_lease_back",),
    ),
    Mutant(
        "leases are not renewed",
        "batchq/journal/lease.py",
        "                    kept.renew()\n",
        "                    pass\n",
        (f"{JOURNAL}::test_a_lease_is_renewed_while_it_is_held", CRASHES),
    ),
    Mutant(
        "a poll of an older chain goes on",
        "batchq/flow/poll.py",
        "is_wanted=lambda record: record.chain == chain,",
        "",
        (f"{FLOW}::test_an_older_chain_of_polls_ends",),
    ),
]

_PLACES = [
    Mutant(
        "a second outcome replaces the first",
        "batchq/journal/lua/answer.lua",
        'if prompt[1] == "answered" then',
        "if false then",
        (f"{JOURNAL}::test_the_first_outcome_stands_and_the_last_one_frees_the_task",),
    ),
    Mutant(
        "a late answer leaves its prompt in the lane",
        "batchq/journal/lua/answer.lua",
        "leave_lane(lane, totals, custom_id, prompt[2], prompt[3])",
        "",
        (f"{JOURNAL}::test_a_late_answer_saves_the_second_asking",),
    ),
    Mutant(
        "what was answered is sealed again",
        "batchq/journal/lua/seal.lua",
        'elseif size[4] ~= "lane" then',
        "elseif false then",
        (f"{JOURNAL}::test_an_answered_prompt_is_not_asked_again",),
    ),
    Mutant(
        "a batch grows though its file is on its way",
        "batchq/journal/lua/includes/filling.lua",
        'if known[1] and (known[1] ~= "sealed" or tonumber(known[2] or 0) > 0) then',
        "if false then",
        (f"{JOURNAL}::test_nothing_joins_a_batch_whose_file_is_on_its_way",),
    ),
    Mutant(
        "a prompt that is elsewhere goes back to the lane",
        "batchq/journal/lua/requeue.lua",
        "if prompt[1] ~= place then",
        "if false then",
        (f"{JOURNAL}::test_unanswered_prompts_go_back_where_they_were", FLOW),
    ),
    Mutant(
        "attempts do not run out",
        "batchq/journal/lua/requeue.lua",
        "elseif (tonumber(prompt[2]) or 0) + args.used >= args.most then",
        "elseif false then",
        (f"{JOURNAL}::test_attempts_run_out",),
    ),
]

_SUBMISSION = [
    Mutant(
        "an upload is repeated without a look for the first",
        "batchq/flow/flush.py",
        "if record.upload_intent_at:",
        "if False:",
        (f"{RECOVERY}::test_an_upload_whose_answer_was_lost_is_found",),
    ),
    Mutant(
        "a batch is created again without a look for the first",
        "batchq/flow/flush.py",
        "        if record.create_intent_at:",
        "        if False:",
        (f"{FLOW}::test_a_lost_create_is_looked_for", CRASHES),
    ),
    Mutant(
        "one look at the list is enough",
        "batchq/flow/flush.py",
        "if grace < self.config.create_grace or record.looks + 1 < _LOOKS:",
        "if False:",
        (f"{RECOVERY}::test_a_batch_is_found_though_the_list_is_late", FLOW),
    ),
    Mutant(
        "a refused list wipes out the intent to create",
        "batchq/flow/flush.py",
        'if error.call == "batches.create":',
        "if True:",
        (f"{FLOW}::test_a_refused_list_is_no_reason_to_create_again",),
    ),
    Mutant(
        "a batch that was created twice is left running",
        "batchq/flow/flush.py",
        "                self._cancel(provider, [batch.id for batch in extra])\n",
        "",
        (f"{FLOW}::test_a_batch_that_was_created_twice_runs_once",),
    ),
    Mutant(
        "a line that cannot be read back stays in the file",
        "batchq/flow/flush.py",
        "            if not bad:\n",
        "            if True:\n",
        (f"{FLOW}::test_a_line_that_cannot_be_read_back_fails_alone",),
    ),
    Mutant(
        "the SDK repeats what has no idempotency key",
        "batchq/provider/sdk.py",
        '"max_retries": 0,',
        '"max_retries": 2,',
        (PROVIDER,),
    ),
]

_FETCHING = [
    Mutant(
        "files that are not there yet are not waited for",
        "batchq/flow/fetch.py",
        "if files_missing(batch) and in_grace:",
        "if False:",
        (OUTCOMES_OF_BATCHES,),
    ),
    Mutant(
        "an unreadable line counts as missing at once",
        "batchq/flow/fetch.py",
        'if self.seen["unreadable"] and self.record.looks < _READINGS - 1:',
        "if False:",
        (f"{OUTCOMES}::test_a_line_that_was_garbled_on_its_way_is_read_again",),
    ),
    Mutant(
        "a row of another batch answers",
        "batchq/flow/fetch.py",
        "return custom_id in self.asked",
        "return True",
        (f"{FLOW}::test_a_row_of_another_batch_answers_nobody",),
    ),
    Mutant(
        "an error stands against a success for the same line",
        "batchq/flow/fetch.py",
        "if outcome.succeeded and final:\n"
        "                successes.append((row.custom_id, outcome))\n"
        "                receipts[row.custom_id] = self.bill.answered(row)\n            else:",
        "if final:\n                successes.append((row.custom_id, outcome))\n"
        "                receipts[row.custom_id] = self.bill.answered(row)\n            else:",
        (f"{OUTCOMES}::test_a_success_stands_against_an_error_before_it",),
    ),
    Mutant(
        "what was not answered is not asked again",
        "batchq/flow/fetch.py",
        "            self._settle(batch)\n",
        "            self._settle_errors()\n",
        (f"{OUTCOMES}::test_what_a_batch_had_no_time_for_is_asked_again",),
    ),
    Mutant(
        "a batch that is not found for a moment counts as gone",
        "batchq/flow/fetch.py",
        "if not self.record.missing_since and self._age < self.work.settings.files_grace:",
        "if False:",
        (f"{FLOW}::test_a_batch_that_is_not_found_for_a_moment_is_not_asked_again",),
    ),
    Mutant(
        "the files are deleted while another reads them",
        "batchq/flow/fetch.py",
        'if word == "LOST":\n            return  # Another',
        'if word == "NEVER":\n            return  # Another',
        (f"{FLOW}::test_the_files_stay_where_another_reads_them",),
    ),
    Mutant(
        "a stuck batch is never cancelled",
        "batchq/decide/poll.py",
        "case _ if age >= settings.batch_deadline:",
        "case _ if False:",
        (f"{LIFECYCLE}::test_a_batch_past_its_deadline_is_cancelled_and_then_given_up",),
    ),
    Mutant(
        "what the SDK would retry is final",
        "batchq/decide/fetch.py",
        "return not (status in _ASKED_AGAIN or status >= 500), outcome",
        "return True, outcome",
        (f"{LIFECYCLE}::test_what_the_sdk_retries_live_is_asked_again",),
    ),
]

_RESCUE = [
    Mutant(
        "a batch that stands still is not woken",
        "batchq/flow/rescue.py",
        "                _wake(app, journal, record)\n",
        "                pass\n",
        (f"{FLOW}::test_a_batch_that_nobody_submits_is_found",),
    ),
    Mutant(
        "a task with its answers and no message is left alone",
        "batchq/flow/resend.py",
        '    wake(app, Next("resume", (task_ids,)))\n',
        "",
        (f"{FLOW}::test_a_task_that_has_its_answers_and_no_message_is_found",),
    ),
    Mutant(
        "a task that Celery has ended is resumed",
        "batchq/flow/resend.py",
        "if state not in READY_STATES:",
        "if True:",
        (f"{FLOW}::test_a_task_that_celery_has_ended_is_not_resumed",),
    ),
    Mutant(
        "a late batch is woken at every tick",
        "batchq/journal/lua/wake.lua",
        "if wakes > 0 and now - known[2] < pause then",
        "if false then",
        (f"{FLOW}::test_a_late_batch_is_not_woken_at_every_tick",),
    ),
    Mutant(
        "a run that died with its answers is not found",
        "batchq/journal/resuming.py",
        "and (one.died or self._is_late(",
        "and (self._is_late(",
        (f"{JOURNAL}::test_a_run_that_died_with_its_answers_is_stuck",),
    ),
    Mutant(
        "the message of a delivery that found its task busy is not kept",
        "batchq/capture/claiming.py",
        "        journal.runs.keep(request.id, message=message)\n",
        "        pass\n",
        (f"{CRASHES}::test_a_worker_is_killed_before_its_body_asked",),
    ),
    Mutant(
        "a retry that comes before the end of its run does not wait for it",
        "batchq/capture/claiming.py",
        'claim.word == "ENDING" and time.monotonic() < patience',
        "False",
        (f"{RETRIES}::test_a_retry_waits_for_a_run_that_lingers",),
    ),
    Mutant(
        "a run that was taken over returns its result",
        "batchq/capture/claiming.py",
        "        if delivery.renewed.lost:\n            raise Parked from None\n",
        "        pass\n",
        (f"{CRASHES}::test_a_run_that_slept_does_not_end_its_task_again",),
    ),
    Mutant(
        "a lease counts from when its holder was told of it",
        "batchq/journal/lease.py",
        "duration, lease.since)",
        "duration, time.monotonic())",
        (f"{CRASHES}::test_a_run_that_slept_as_it_began_does_not_end_its_task_again",),
    ),
]

_KILLED = [
    Mutant(
        "runs that die are not counted",
        "batchq/journal/lua/claim.lua",
        "if known[5] and known[5] ~= args.token and not newer then",
        "if false then",
        (f"{JOURNAL}::test_a_task_that_kills_its_workers_dies_itself",),
    ),
    Mutant(
        "a run that captured in order is counted as killed",
        "batchq/journal/lua/capture.lua",
        '"crashes"',
        '"nothing"',
        (f"{JOURNAL}::test_a_run_that_ends_in_order_sets_the_count_back",),
    ),
    Mutant(
        "a run that was taken over buries its task",
        "batchq/journal/lua/bury.lua",
        "if not is_current_run(task, args.token) then",
        "if false then",
        (f"{JOURNAL}::test_a_task_that_kills_its_workers_dies_itself",),
    ),
    Mutant(
        "a task that is alive is revived",
        "batchq/journal/lua/revive_task.lua",
        'if redis.call("ZREM", KEYS[2], args.task) == 0 or redis.call("EXISTS", KEYS[1]) == 0 then',
        "if false then",
        (f"{JOURNAL}::test_a_dead_task_is_revived_with_its_answers",),
    ),
    Mutant(
        "steps that die are not counted",
        "batchq/journal/lua/begin.lua",
        "if known[2] and known[2] ~= token then",
        "if false then",
        (f"{JOURNAL}::test_a_batch_that_kills_its_workers_is_set_aside",),
    ),
    Mutant(
        "two steps on one batch at once",
        "batchq/journal/lua/begin.lua",
        "if is_taken(lease, token) then",
        "if false then",
        (f"{JOURNAL}::test_one_step_at_a_time",),
    ),
    Mutant(
        "a batch that was set aside goes on",
        "batchq/journal/lua/begin.lua",
        "elseif known[3] then",
        "elseif false then",
        (f"{JOURNAL}::test_a_batch_that_kills_its_workers_is_set_aside",),
    ),
    Mutant(
        "a batch that gets on is set aside all the same",
        "batchq/journal/lua/advance.lua",
        'if redis.call("HGET", KEYS[1], "state") ~= known[1] then',
        "if false then",
        (f"{JOURNAL}::test_a_step_that_ends_in_order_or_gets_on_is_none_of_the_killed",),
    ),
    Mutant(
        "a step under way is woken",
        "batchq/journal/lua/wake.lua",
        'if redis.call("EXISTS", KEYS[2]) == 1 then',
        "if false then",
        (f"{JOURNAL}::test_a_step_under_way_is_not_woken",),
    ),
    Mutant(
        "a batch that was set aside keeps its prompts for ever",
        "batchq/flow/rescue.py",
        "    if record.dead_at:\n",
        "    if False:\n",
        ("tests/test_dead.py::test_a_batch_that_nobody_retries_ends_with_an_error",),
    ),
    Mutant(
        "what nobody can answer is forgotten in silence",
        "batchq/flow/rescue.py",
        "                _end_the_wait(app, journal, task_id)\n",
        "                pass\n",
        (f"{FLOW}::test_no_task_is_forgotten_without_an_answer",),
    ),
    Mutant(
        "a search for a bad line has no end",
        "batchq/journal/lua/split.lua",
        "if tonumber(known[1] or 0) >= args.budget * (1 + tonumber(known[2] or 0)) then",
        "if false then",
        ("tests/test_split.py::test_what_all_lines_share_ends_within_the_budget",),
    ),
]

LOST = "tests/test_lost_messages.py"
CHORD_PART = "tests/test_chord_part.py"
_MESSAGES = [
    Mutant(
        "a message that is about to be sent is sent by rescue as well",
        "batchq/journal/resuming.py",
        "return self.at + one.sent_at > self.lease",
        "return True",
        (f"{JOURNAL}::test_a_message_that_was_sent_is_not_sent_again_at_once",),
    ),
    Mutant(
        "a restart of Redis fails what runs",
        "batchq/journal/connected.py",
        "retries=20",
        "retries=0",
        (f"{LOST}::test_a_restart_of_redis_is_waited_for",),
    ),
    Mutant(
        "a message that was overtaken is waited for as any other",
        "batchq/journal/resuming.py",
        "return overtaken if taken - one.sent_at > _OUT_OF_ORDER else usual",
        "return usual",
        (f"{LOST}::test_a_message_that_was_overtaken_is_sent_again_soon",),
    ),
    Mutant(
        "messages of one moment count as overtaken",
        "batchq/journal/resuming.py",
        "_OUT_OF_ORDER = 5_000",
        "_OUT_OF_ORDER = -1",
        (f"{LOST}::test_messages_of_one_moment_overtake_each_other",),
    ),
    Mutant(
        "a lost message is sent again at every tick",
        "batchq/journal/records.py",
        "return pause << min(max(self.sends, 1) - 1, 10)",
        "return pause",
        (f"{LOST}::test_a_message_without_a_run_is_looked_for_ever_more_seldom",),
    ),
    Mutant(
        "a message that waits in its queue counts as lost",
        "batchq/flow/resend.py",
        "for queue in queues if is_empty(app, queue) for task_id",
        "for queue in queues for task_id",
        (f"{LOST}::test_the_last_message_of_all_is_missed_when_its_queue_is_empty",),
    ),
    Mutant(
        "a chord is not told of a member whose worker died before it did",
        "batchq/flow/resend.py",
        "                _tell_chord(app, journal, task_id)\n",
        "                pass\n",
        (f"{CHORD_PART}::test_a_chord_ends_though_a_member_s_worker_died_before_it_told",),
    ),
]

REVOKE = "tests/test_revoke_journal.py"
_REVOKES = [
    Mutant(
        "a retry of a revoked task runs",
        "batchq/journal/lua/claim.lua",
        'if known[3] == "REVOKED" then',
        "if false then",
        (f"{REVOKE}::test_a_retry_of_it_that_was_sent_all_the_same_does_not_run",),
    ),
    Mutant(
        "two workers tell Celery of one revoke",
        "batchq/journal/lua/revoke.lua",
        'if not known.message or redis.call("EXISTS", lease) == 1 then',
        "if not known.message then",
        (f"{REVOKE}::test_it_is_revoked_by_one",),
    ),
    Mutant(
        "a task that asks on while it is revoked leaves its prompts in a lane",
        "batchq/journal/lua/revoke.lua",
        "elseif has_asked_on(known, args.captured_by) then",
        "elseif false then",
        (f"{REVOKE}::test_prompts_asked_meanwhile_are_looked_at_again",),
    ),
    Mutant(
        "a second delivery that Celery discards takes the run beside it along",
        "batchq/journal/lua/let_go.lua",
        "elseif args.alive and is_running(known, lease, args.token) then",
        "elseif false then",
        (f"{REVOKE}::test_celery_s_word_ends_a_run_only_where_it_killed_it",),
    ),
    Mutant(
        "a revoke that nobody told Celery of is forgotten",
        "batchq/flow/resend.py",
        "        revoke_again(app, revoked)\n",
        "",
        ("tests/test_revoke.py::test_a_revoke_that_nobody_told_celery_of_is_told_by_rescue",),
    ),
    Mutant(
        "the keys of a waiting chord end",
        "batchq/flow/rescue.py",
        "        keep_alive(app)\n",
        "        pass\n",
        ("tests/test_keepalive.py::test_a_waiting_task_stays_batched",),
    ),
]

LOST_JOURNAL = "tests/test_lost_journal.py"
_LOST_JOURNAL = [
    Mutant(
        "a batch of another installation is adopted",
        "batchq/flow/adopt.py",
        "return of in epoch.former or (known and batch.metadata.get(INSTALLATION) == "
        "config.installation)",
        "return True",
        (f"{LOST_JOURNAL}::test_a_batch_of_another_installation_is_left_alone",),
    ),
    Mutant(
        "a batch that was read is adopted where files are kept",
        "batchq/flow/adopt.py",
        "if is_over(batch) and (not batch.output_file_id or not config.delete_files):",
        "if False:",
        (f"{LOST_JOURNAL}::test_where_files_are_kept_only_a_running_batch_is_adopted",),
    ),
    Mutant(
        "a lane is sealed before the provider was looked through",
        "batchq/flow/flush.py",
        "known, paused = lane.lane.account in looked, ",
        "known, paused = lane.lane.account in config.accounts, ",
        (f"{LOST_JOURNAL}::test_nothing_is_sealed_before_the_provider_was_looked_through",),
    ),
    Mutant(
        "a lane is sealed for a journal that was lost a moment ago",
        "batchq/journal/lua/seal.lua",
        'if redis.call("HGET", KEYS[7], "id") ~= args.epoch then',
        "if false then",
        (f"{LOST_JOURNAL}::test_a_lane_is_not_sealed_for_a_journal_that_was_lost_a_moment_ago",),
    ),
    Mutant(
        "a line of an adopted batch answers two prompts",
        "batchq/journal/lua/reuse.lua",
        'if redis.call("SREM", KEYS[8], args.member) == 0 or (over and not outcome) then',
        "if over and not outcome then",
        (f"{LOST_JOURNAL}::test_a_line_serves_one_prompt",),
    ),
    Mutant(
        "a prompt waits for an adopted batch that is read",
        "batchq/journal/lua/reuse.lua",
        "(over and not outcome) then",
        "false then",
        (f"{LOST_JOURNAL}::test_nobody_waits_for_an_adopted_batch_that_is_read",),
    ),
    Mutant(
        "an account is looked through once, though its list may lag",
        "batchq/decide/adopt.py",
        "return last.of != of or (last.looks < _SEARCHES and now - last.at >= grace)",
        "return last.of != of",
        (f"{LOST_JOURNAL}::test_an_account_is_looked_through_again_when_its_list_may_have_lagged",),
    ),
]

_WEBHOOKS = [
    Mutant(
        "a webhook that is replayed wakes a poll again",
        "batchq/journal/lua/tell.lua",
        'if redis.call("EXISTS", KEYS[1]) == 1 then',
        "if false then",
        (f"{WEBHOOK}::test_a_webhook_that_comes_again_has_no_effect",),
    ),
    Mutant(
        "a webhook gives up a batch that was set aside",
        "batchq/journal/lua/tell.lua",
        "elseif known[2] then",
        "elseif false then",
        (f"{WEBHOOK}::test_a_batch_that_was_set_aside_stays_aside",),
    ),
    Mutant(
        "a webhook breaks the chain of a poll under way",
        "batchq/journal/lua/tell.lua",
        'elseif redis.call("EXISTS", KEYS[3]) == 1 then',
        "elseif false then",
        (f"{WEBHOOK}::test_a_webhook_in_the_middle_of_a_poll_is_not_lost",),
    ),
    Mutant(
        "a poll overlooks the webhook that came while it asked",
        "batchq/journal/lua/advance.lua",
        'local told = args.told_at and (known[2] or "0") ~= args.told_at',
        "local told = false",
        (f"{WEBHOOK}::test_a_webhook_in_the_middle_of_a_poll_is_not_lost",),
    ),
    Mutant(
        "a poll that was told leaves it at that",
        "batchq/flow/poll.py",
        'timedelta(0) if word == "TOLD" else delay',
        "delay",
        (f"{WEBHOOK}::test_a_poll_that_is_told_while_it_asks_asks_again_at_once",),
    ),
    Mutant(
        "the secret of one account speaks for all",
        "batchq/webhook/receive.py",
        "if batch is None or batch.lane.account not in accounts:",
        "if batch is None:",
        (f"{WEBHOOK}::test_who_has_the_secret_of_one_account_says_nothing_of_another",),
    ),
    Mutant(
        "a signature that the SDK chokes on is an error",
        "batchq/webhook/receive.py",
        "except Exception as error:  # noqa: BLE001 whatever it is,",
        "except ValueError as error:  #",
        (f"{WEBHOOK}::test_one_whose_headers_are_not_those_signed_is_refused",),
    ),
    Mutant(
        "an empty secret verifies what anybody signs",
        "batchq/settings/account.py",
        "if not all(map(keeps_a_secret, secrets)):",
        "if False:",
        (f"{WEBHOOK}::test_a_secret_that_anybody_can_guess_is_none",),
    ),
    Mutant(
        "webhooks that have stopped slow polling down for good",
        "batchq/flow/poll.py",
        "told=told is not None)",
        "told=True)",
        (f"{WEBHOOK}::test_a_poll_that_finds_a_batch_over_says_whether_a_webhook_has_told",),
    ),
]

MUTANTS = (
    *_CLAIM,
    *_FENCES,
    *_PLACES,
    *_SUBMISSION,
    *_FETCHING,
    *_RESCUE,
    *_KILLED,
    *_MESSAGES,
    *_REVOKES,
    *_LOST_JOURNAL,
    *_WEBHOOKS,
)
