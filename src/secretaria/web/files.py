"""Files as answers: a telling name (RFC 6266), and long ones sent while they are made."""

from starlette.responses import Response, StreamingResponse

from secretaria.services.exports import ExportFile


def file_response(file: ExportFile) -> Response:
    """Return an export as a download."""
    headers = disposition(file.name)
    if isinstance(file.content, bytes):
        return Response(file.content, media_type=file.media_type, headers=headers)
    return StreamingResponse(file.content, media_type=file.media_type, headers=headers)


def disposition(name: str) -> dict[str, str]:
    """Return the header that has a browser keep a file under a name; ours are ASCII without quotes."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}
