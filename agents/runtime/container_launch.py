"""From a CRI container config to what the nursery starts. Pure, except for looking at paths."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from agents.runtime.capabilities import capabilities
from agents.runtime.errors import InvalidFailure, PreconditionFailure
from agents.runtime.images import LocalImage
from agents.runtime.launch import Bind, Launch
from agents.runtime.leftovers import MARKER
from agents.runtime.names import name_binds
from agents.runtime.records import Sandbox
from agents.runtime.spawner import Isolation
from kubraft.pb.criv1 import api_pb2 as cri

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The mounts that every Pod gets without asking. Where nothing can be mounted they are left out
# rather than refused; for the token's, the environment says where the files are.
_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_DISPENSABLE = frozenset({_TOKEN_PATH, "/dev/termination-log", "/etc/hosts"})
TOKEN_DIRECTORY_VARIABLE = "KUBRAFT_SERVICEACCOUNT_DIR"  # noqa: S105 - a name
_PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - names inside the container


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same for all containers of this runtime."""

    root: Path
    isolation: Isolation
    masked: tuple[str, ...]  # directories that no container may look into


def container_launch(
    site: Site,
    sandbox: Sandbox,
    config: cri.ContainerConfig,
    image: LocalImage,
    *,
    directory: Path,
    shared: Path,
    joins: str = "",
    cgroups: tuple[str, ...] = (),
) -> Launch:
    """How to start the container of `config`; `shared` has the files of all of its sandbox.

    `joins`: the id of the sandbox, or of the container, whose processes it is to see.

    Raises:
        InvalidFailure: there is nothing to run, or a mount's source does not exist.
        PreconditionFailure: it needs mounts or a user that this machine does not give.
    """
    security = config.linux.security_context
    _check_profiles(security)
    argv = (*config.command, *config.args)
    builtin = ""
    if not config.command and image.image.builtin:
        builtin = image.image.builtin
    elif not config.command:
        argv = (*image.image.command, *config.args) if not config.args else tuple(config.args)
    if not argv and not builtin:
        raise InvalidFailure("no command specified")
    binds = (*name_binds(shared, config.mounts), *_binds(site, config))
    isolated = site.isolation.available
    work = str(directory / "work")
    return Launch(
        argv=argv,
        env=_environment(site, sandbox, config, image),
        cwd=config.working_dir or work,
        builtin=builtin,
        uid=security.run_as_user.value if security.HasField("run_as_user") else None,
        gid=security.run_as_group.value if security.HasField("run_as_group") else None,
        groups=tuple(security.supplemental_groups) if os.geteuid() == 0 else (),
        tty=config.tty,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        no_new_privileges=security.no_new_privs,
        privileged=security.privileged,
        capabilities=capabilities(
            security.capabilities.add_capabilities, security.capabilities.drop_capabilities
        ),
        isolated=isolated,
        joins=joins,
        host_pids=security.namespace_options.pid == cri.NODE,
        root=str(directory / "root"),
        hostname=sandbox.hostname,
        binds=(*binds, *_kept_paths(site, image.image.path_first)) if isolated else (),
        masked=(*site.masked, *security.masked_paths),
        private=_private_binds(directory, work) if isolated else (),
        read_only_root=security.readonly_rootfs,
        oom_score_adj=config.linux.resources.oom_score_adj,
        cgroups=cgroups,
    )


def container_user(launch: Launch) -> cri.ContainerUser:
    """Who the container's program is."""
    uid = os.geteuid() if launch.uid is None else launch.uid
    gid = os.getegid() if launch.gid is None else launch.gid
    groups = sorted({gid, *launch.groups})
    user = cri.LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=groups)
    return cri.ContainerUser(linux=user)


def _check_profiles(security: cri.LinuxContainerSecurityContext) -> None:
    """Refuse a profile of the host's: nobody here loads it, and who asks for it relies on it."""
    for name, profile in (("seccomp", security.seccomp), ("AppArmor", security.apparmor)):
        if profile.profile_type == cri.SecurityProfile.Localhost:
            raise InvalidFailure(
                f'{name} profile "{profile.localhost_ref}" cannot be loaded: containers of the '
                "process runtime are confined as the runtime itself"
            )


def make_directories(launch: Launch, directory: Path) -> None:
    """Create what `container_launch` refers to below the container's directory."""
    owner = (launch.uid or 0, launch.gid or 0)
    for name, mode in (("root", 0o755), ("work", 0o755), ("tmp", 0o1777), ("var-tmp", 0o1777)):
        path = directory / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
    if os.geteuid() == 0 and owner != (0, 0):
        os.chown(directory / "work", *owner)


def _private_binds(directory: Path, work: str) -> tuple[Bind, ...]:
    sources = (directory / "tmp", directory / "var-tmp")
    pairs = zip(sources, _PRIVATE, strict=True)
    return (*(Bind(str(source), target) for source, target in pairs), Bind(work, work))


def _kept_paths(site: Site, programs: tuple[str, ...]) -> tuple[Bind, ...]:
    """This interpreter and `programs`, where they lie in directories that containers see empty."""
    hidden = (*_PRIVATE, *site.masked)
    package = str(Path(__file__).resolve().parent.parent.parent)
    paths = {os.path.realpath(p) for p in (sys.base_prefix, sys.prefix, package, *programs)}
    return tuple(
        Bind(path, path, read_only=True)
        for path in sorted(paths)
        if any(_is_below(path, folder) for folder in hidden)
    )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _binds(site: Site, config: cri.ContainerConfig) -> tuple[Bind, ...]:
    binds = []
    for mount in config.mounts:
        if not mount.container_path.startswith("/"):
            raise InvalidFailure(f'mount path "{mount.container_path}" is not absolute')
        if mount.image.image:
            raise InvalidFailure(f"mount {mount.container_path}: image volumes are not supported")
        if mount.propagation != cri.PROPAGATION_PRIVATE:
            raise InvalidFailure(
                f"mount {mount.container_path}: only mountPropagation None is supported"
            )
        if not os.path.exists(mount.host_path):
            raise InvalidFailure(
                f'failed to generate container spec: failed to stat "{mount.host_path}": '
                f"stat {mount.host_path}: no such file or directory"
            )
        binds.append(Bind(mount.host_path, mount.container_path, mount.readonly))
    if site.isolation.available:
        return tuple(binds)
    for bind in binds:
        if os.path.realpath(bind.source) != bind.target and bind.target not in _DISPENSABLE:
            raise PreconditionFailure(
                f"cannot mount {bind.target}: this user may not have a mount namespace here "
                f"({site.isolation.reason})"
            )
    return ()


def _environment(
    site: Site, sandbox: Sandbox, config: cri.ContainerConfig, image: LocalImage
) -> dict[str, str]:
    metadata = sandbox.status.metadata
    env = {
        "PATH": ":".join((*image.image.path_first, _PATH)),
        "HOME": "/root" if os.geteuid() == 0 else "/tmp",  # noqa: S108 - inside the container
        "HOSTNAME": sandbox.hostname,
        "KUBRAFT_POD_NAME": metadata.name,
        "KUBRAFT_POD_NAMESPACE": metadata.namespace,
        "KUBRAFT_POD_IP": sandbox.status.network.ip or "127.0.0.1",
        "KUBRAFT_IMAGE": config.image.user_specified_image or str(image.reference),
    }
    if config.tty:
        env["TERM"] = "xterm"
    if not site.isolation.available:
        for mount in config.mounts:
            if mount.container_path == _TOKEN_PATH:
                env[TOKEN_DIRECTORY_VARIABLE] = mount.host_path
    for pair in config.envs:
        if b"\0" in pair.value or "=" in pair.key or not pair.key:
            raise InvalidFailure(f'invalid environment variable "{pair.key}"')
        env[pair.key] = pair.value.decode(errors="surrogateescape")
    env[MARKER] = str(site.root)
    return env
