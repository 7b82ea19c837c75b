"""A case in other forms than Zarr: Φ as NIfTI, and a slice as a picture."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import Annotated, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Query, Response

from api.dependencies import BuildersOf, CaseName, DatasetName, LibraryOf, SettingsOf
from api.files import FileAnswer
from api.problems import responses
from dmapsvc.errors import BadInput, BadName, Damaged, NotFound
from dmapsvc.store import Case
from dmapsvc.store.storedfile import LocalFile
from dmapsvc.volumes.writing import write_nifti

router = APIRouter(prefix="/v1/datasets/{dataset}/cases/{case}", tags=["cases"])


@router.get(
    "/phi.nii.gz",
    summary="Φ as NIfTI",
    response_class=Response,
    responses={
        200: {"description": "float32, on the mask's grid.", "content": {"application/gzip": {}}},
        **responses(BadName, NotFound, Damaged),
    },
)
async def get_phi(
    dataset: DatasetName, case: CaseName, library: LibraryOf, settings: SettingsOf, builders: BuildersOf
) -> Response:
    """Φ in its unit, float32, with the mask's axis order, shape and affine: it overlays the mask.

    It is NIfTI-1, or NIfTI-2 where an axis is longer than NIfTI-1 can say (32,767).
    """

    def build() -> LocalFile:
        found = library.read(dataset).case(case)
        with ExitStack() as open_files:
            file = open_files.enter_context(tempfile.TemporaryFile(dir=settings.staging))
            write_phi(found, file)
            file.flush()
            open_files.pop_all()  # closed, and so removed, when it is sent
        return LocalFile(file)

    file = await to_thread.run_sync(build, limiter=builders)
    named = {"content-disposition": f'attachment; filename="{case}_phi.nii.gz"'}
    return FileAnswer(file, 0, file.size, media_type="application/gzip", headers=named)


@router.get(
    "/preview.png",
    summary="A slice as a picture",
    response_class=Response,
    responses={
        200: {"description": "Mask beside Φ.", "content": {"image/png": {}}},
        **responses(BadName, BadInput, NotFound, Damaged),
    },
)
def get_preview(
    dataset: DatasetName,
    case: CaseName,
    library: LibraryOf,
    axis: Annotated[int | None, Query(ge=0, le=2, description="0, 1, 2: z, y, x; default in-plane.")] = None,
    index: Annotated[int | None, Query(ge=0, description="Slice; default the fullest.")] = None,
) -> Response:
    """The mask beside Φ, boundaries in white, as in Figure 1 of the paper."""
    from dmapsvc.figures import case_preview  # matplotlib: a second that only the first preview pays

    home = library.read(dataset)
    return Response(case_preview(home.case(case), axis, index, home.names), media_type="image/png")


def write_phi(case: Case, file: BinaryIO) -> None:
    """Write Φ of a case to `file` as gzipped NIfTI, on the mask's grid."""
    record = case.record
    write_nifti(
        file,
        case.phi_values(),
        spacing=record.spacing,
        affine=record.affine,
        description=f"penalty map in {record.spec.units}",
    )
