"""Writes an image as an OCI layout: oci_image.py LAYOUT NAME CONFIG LAYER...

CONFIG is the JSON of an image's "config" (Entrypoint, Cmd, Env, User, WorkingDir ...), with "architecture" taken out of it.
A LAYER is a folder, or OWNER:FOLDER to give its files to a user. The layout can hold several names; skopeo pushes them.
"""

import gzip, hashlib, io, json, os, platform, sys, tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def tar(folder, owner):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def owned(entry):
            entry.uid = entry.gid = owner
            entry.uname = entry.gname = ""
            return entry

        for name in sorted(os.listdir(folder)):
            archive.add(os.path.join(folder, name), arcname=name, filter=owned)
    return out.getvalue()


def main(layout, name, config, *layers):
    blobs = os.path.join(layout, "blobs", "sha256")
    os.makedirs(blobs, exist_ok=True)

    def put(data, media):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as file:
            file.write(data)
        return {"mediaType": media, "digest": "sha256:" + digest, "size": len(data)}

    config = json.loads(config)
    architecture = config.pop("architecture", ARCHITECTURE)
    parts, diffs = [], []
    for layer in layers:
        owner, _, folder = layer.rpartition(":")
        data = tar(folder, int(owner or 0))
        diffs.append("sha256:" + hashlib.sha256(data).hexdigest())
        packed = gzip.compress(data, compresslevel=1, mtime=0)
        parts.append(put(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    document = {"architecture": architecture, "os": "linux", "config": config,
                "rootfs": {"type": "layers", "diff_ids": diffs}}
    described = put(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": described,
                "layers": parts}
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    place = os.path.join(layout, "index.json")
    index = {"schemaVersion": 2, "manifests": []}
    if os.path.exists(place):
        with open(place) as file:
            index = json.load(file)
    index["manifests"] = [m for m in index["manifests"] if m["annotations"] != entry["annotations"]] + [entry]
    with open(place, "w") as file:
        json.dump(index, file)
    with open(os.path.join(layout, "oci-layout"), "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
    print(entry["digest"])


main(*sys.argv[1:])
