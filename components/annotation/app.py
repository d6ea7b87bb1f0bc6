"""The annotation page and its doors, as a web application.

Takes a workplace; gives an application for any ASGI server. Everything is rendered here and works without scripts; a
small script adds keys. Asks for no password: it is for loopback. Does not start a server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, get_args
from urllib.parse import parse_qsl, quote, unquote

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from components.annotation import door
from components.annotation.entries import BadEntry, Verdict
from components.annotation.guard import Guard, read_body
from components.annotation.pages import FOLDER, case_page, done_page, home_page, queue_page
from components.annotation.selection import Ranked
from components.annotation.workplace import Workplace
from components.records.intake import Added
from components.records.label_studio import BadExport

COOKIE = "annotator"
LONGEST_NAME = 60
STATIC = {"style.css": "text/css", "keys.js": "text/javascript"}
VERDICTS: frozenset[str] = frozenset(get_args(Verdict))
Body = Annotated[bytes, Depends(read_body)]
After = Callable[[Added], None]
"""Is told what was added, behind the answer: to version it and to tell others."""


def make_app(place: Workplace, *, after: After) -> FastAPI:
    """The application; `after` is called behind every answer that added rows."""
    app = FastAPI(title="Qanat annotation", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)
    _add_pages(app, place, after)
    _add_doors(app, place, after)
    return app


def _add_pages(app: FastAPI, place: Workplace, after: After) -> None:
    @app.get("/")
    def home(request: Request) -> Response:
        return HTMLResponse(home_page(place.standing(), _annotator(request)))

    @app.post("/sign-in")
    def sign_in(body: Body) -> Response:
        name = " ".join(_fields(body).get("name", "").split())
        if not 0 < len(name) <= LONGEST_NAME:
            raise HTTPException(422, f"name: must have 1 to {LONGEST_NAME} characters")
        answer = _see("/next")
        answer.set_cookie(COOKIE, quote(name), httponly=True, samesite="strict", max_age=365 * 86_400)
        return answer

    @app.get("/next")
    def following(request: Request, said: str = "") -> Response:
        who = _annotator(request)
        if who is None:
            return _see("/")
        case_id = place.next_case(who)
        if case_id is None:
            return HTMLResponse(done_page(place.standing(), who, _known_word(said)))
        return _see(f"/cases/{case_id}?said={_known_word(said)}")

    @app.get("/queue")
    def queue(request: Request) -> Response:
        return HTMLResponse(queue_page(place.queue(), place.standing(), _annotator(request)))

    @app.get("/cases/{case_id}")
    def show(request: Request, case_id: str, said: str = "") -> Response:
        who, ranked = _annotator(request), _found(place, case_id)
        if who is None:
            return _see("/")
        if not place.open(ranked.case, who):
            return _see("/next?said=known")
        return HTMLResponse(case_page(ranked, place.standing(), who, said=_known_word(said)))

    @app.post("/cases/{case_id}")
    def judge(request: Request, case_id: str, body: Body) -> Response:
        who, ranked, fields = _annotator(request), _found(place, case_id), _fields(body)
        if who is None:
            return _see("/")
        verdict = fields.get("verdict", "")
        if verdict == "skip":
            place.skip(case_id, who)
            return _see("/next?said=skipped")
        try:
            saved = place.save(ranked.case, _verdict(verdict), fields, who)
            faults = [f"{reject.field}: {reject.reason}" for reject in saved.rejects]
        except BadEntry as error:
            faults = [str(error)]
        if faults:
            page = case_page(ranked, place.standing(), who, faults=faults, entered=fields)
            return HTMLResponse(page, status_code=422)
        answer = _see(f"/next?said={'saved' if saved.new else 'known'}")
        if saved.added is not None and saved.new:
            answer.background = BackgroundTask(after, saved.added)
        return answer

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        return FileResponse(FOLDER / name, media_type=STATIC[name])


def _add_doors(app: FastAPI, place: Workplace, after: After) -> None:
    @app.get("/health")
    def health() -> Response:
        return JSONResponse({"cases": len(place.queue())})

    @app.post("/annotations")
    def annotations(body: Body) -> Response:
        return _told(door.add_lines(place.intake, body, tools=place.tools), after)

    @app.post("/label-studio")
    def label_studio(body: Body) -> Response:
        try:
            return _told(door.add_label_studio(place.intake, body, tools=place.tools), after)
        except BadExport as error:
            return JSONResponse({"error": str(error)}, status_code=422)


def _told(added: Added, after: After) -> Response:
    """What became of the rows: 200 when all were good, 422 when some were refused (the good ones are in)."""
    rejects = [{"line": one.line, "field": one.field, "reason": one.reason} for one in added.rejects]
    content = {"added": list(added.added), "known": added.known, "rejects": rejects}
    task = BackgroundTask(after, added) if added.added else None
    return JSONResponse(content, status_code=422 if rejects else 200, background=task)


def _fields(body: bytes) -> dict[str, str]:
    """The controls of a form; the last one of a name counts."""
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1000, errors="strict"))
    except ValueError as error:
        raise HTTPException(422, f"the form cannot be read: {error}") from None


def _annotator(request: Request) -> str | None:
    name = unquote(request.cookies.get(COOKIE, ""))
    return name if 0 < len(name) <= LONGEST_NAME else None


def _found(place: Workplace, case_id: str) -> Ranked:
    ranked = place.find(case_id)
    if ranked is None:
        raise HTTPException(404, "this case is not in the queue any more: the records changed")
    return ranked


def _verdict(name: str) -> Verdict:
    for verdict in get_args(Verdict):
        if verdict == name:
            return verdict  # type: ignore[no-any-return]
    raise BadEntry(f"verdict: must be one of {', '.join(sorted(VERDICTS))} or skip")


def _known_word(said: str) -> str:
    return said if said in ("saved", "skipped", "known") else ""


def _see(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)
