"""The page and its files, as they are in the folder `static`.

Those of `antiphon.js` are links to `clients/js/src`, which is the npm package as well; a wheel has them as files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

STATIC: Final = Path(__file__).parent / "static"
REVALIDATE: Final = {"Cache-Control": "no-cache"}

router = APIRouter()


class RevalidatedFiles(StaticFiles):
    """The page's files, mounted once by `create_app`.

    Browsers always revalidate them, so that an upgrade never mixes an old script with a new page.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory, follow_symlink=True)

    def file_response(self, *args: object, **kwargs: object) -> FileResponse:
        """As Starlette's, with the header that makes browsers ask again."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(REVALIDATE)
        return response  # type: ignore[return-value]


@router.api_route("/", methods=["GET", "HEAD"])
async def page() -> FileResponse:
    """The page on which a person calls."""
    return FileResponse(STATIC / "index.html", headers=REVALIDATE)
