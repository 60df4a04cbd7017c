"""CRI's ImageService over the image store."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agents.runtime.edge import Context, method
from agents.runtime.errors import NotFoundFailure
from agents.runtime.images import ImageNotFoundError, ImageStore, LocalImage
from kubraft.pb.criv1 import api_pb2 as cri
from kubraft.pb.criv1 import api_pb2_grpc as cri_grpc


class ImageService(cri_grpc.ImageServiceServicer):
    """Names of images; nothing is downloaded."""

    def __init__(self, images: ImageStore, root: Path) -> None:
        self._images = images
        self._root = root

    @method
    async def PullImage(  # noqa: N802
        self, request: cri.PullImageRequest, _context: Context
    ) -> cri.PullImageResponse:
        try:
            local = self._images.pull(request.image.image)
        except ImageNotFoundError as error:
            raise NotFoundFailure(str(error)) from error
        return cri.PullImageResponse(image_ref=local.id)

    @method
    async def ImageStatus(  # noqa: N802
        self, request: cri.ImageStatusRequest, _context: Context
    ) -> cri.ImageStatusResponse:
        local = self._images.find(request.image.image)
        return cri.ImageStatusResponse(image=None if local is None else _image(local))

    @method
    async def ListImages(  # noqa: N802
        self, request: cri.ListImagesRequest, _context: Context
    ) -> cri.ListImagesResponse:
        wanted = request.filter.image.image
        if wanted:
            local = self._images.find(wanted)
            return cri.ListImagesResponse(images=[] if local is None else [_image(local)])
        return cri.ListImagesResponse(images=[_image(local) for local in self._images.list()])

    @method
    async def RemoveImage(  # noqa: N802
        self, request: cri.RemoveImageRequest, _context: Context
    ) -> cri.RemoveImageResponse:
        self._images.remove(request.image.image)
        return cri.RemoveImageResponse()

    @method
    async def ImageFsInfo(  # noqa: N802
        self, _request: cri.ImageFsInfoRequest, _context: Context
    ) -> cri.ImageFsInfoResponse:
        disk = os.statvfs(self._root)
        usage = cri.FilesystemUsage(
            timestamp=time.time_ns(),
            fs_id=cri.FilesystemIdentifier(mountpoint=str(self._root)),
            used_bytes=cri.UInt64Value(value=(disk.f_blocks - disk.f_bfree) * disk.f_frsize),
            inodes_used=cri.UInt64Value(value=disk.f_files - disk.f_ffree),
        )
        return cri.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])


def _image(local: LocalImage) -> cri.Image:
    tag = "" if local.reference.digest else str(local.reference)
    return cri.Image(
        id=local.id,
        repo_tags=[tag] if tag else [],
        repo_digests=[local.repo_digest],
        size=0,
        spec=cri.ImageSpec(image=local.id),
        # A built-in image says nothing of a user: its programs are the runtime's.
        uid=cri.Int64Value(value=os.geteuid()),
        pinned=True,
    )
