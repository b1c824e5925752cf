"""What can go wrong with a call as it comes in."""

from batchq.emulator.fault import of_call

CALLS = (
    of_call("upload_500", "The upload is answered with a 500 and not kept.", status=500),
    of_call("upload_drop_before", "The connection is cut before the upload is kept."),
    of_call("upload_drop_after", "The upload is kept, but its answer is lost."),
    of_call("create_400_file_not_found", "Create says that it cannot find a file just uploaded."),
    of_call("create_429", "Create is rate limited; with `retry_after` seconds.", retry_after=1),
    of_call("create_500", "Create is answered with a 500; no batch is made.", status=500),
    of_call("create_drop_before", "The connection is cut before the batch is made."),
    of_call("create_drop_after", "The batch is made, but the answer is lost."),
    of_call("create_slow_after", "The batch is made; its answer comes `seconds` late.", seconds=5),
    of_call("retrieve_404", "No batch is found with this id."),
    of_call("retrieve_500", "The status call is answered with a 500.", status=500),
    of_call("list_500", "The list of batches is answered with a 500.", status=500),
    of_call("cancel_500", "The cancel call is answered with a 500, in vain.", status=500),
    of_call("content_502", "The download is answered with a gateway's 502 page."),
    of_call("content_404_once", "The download says that there is no such file."),
    of_call(
        "content_cut",
        "The connection is cut during the download, after the share `at` of the bytes.",
        at=0.5,
    ),
    of_call("content_garbled", "The download's first bytes are not those of the file."),
    of_call("live_429", "A live call is rate limited; with `retry_after` seconds.", retry_after=1),
    of_call("live_500", "A live call is answered with a 500.", status=500),
    of_call(
        "call_error",
        "Any call (`call`: its name, null for all) is answered with `status`.",
        call=None,
        status=500,
        code=None,
        message=None,
        retry_after=None,
    ),
    of_call("call_drop_before", "The connection is cut before `call` has an effect.", call=None),
    of_call("call_drop_after", "`call` has its effect, but the answer is lost.", call=None),
    of_call("call_slow_after", "`call` is answered `seconds` late.", call=None, seconds=5),
    of_call(
        "html_instead_of_json", "`call` is answered with a web page and status 200.", call=None
    ),
    of_call("unauthorized", "`call` is answered with a 401, whatever the key.", call=None),
    of_call("slow", "`call` takes `seconds` before it has an effect.", call=None, seconds=1),
)
