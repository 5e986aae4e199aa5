//! Image references as Docker and Kubernetes read them: `nginx` is `docker.io/library/nginx:latest`.

use serde_json::Value;

use crate::kinds::workload_definition::ImageUse;

/// Splits an image into its full repository and its tag or digest.
pub fn parse(image: &str) -> ImageUse {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[after_slash..].rfind(':') {
        Some(colon) => (&rest[..after_slash + colon], &rest[after_slash + colon + 1..]),
        None => (rest, "latest"),
    };
    ImageUse {
        repository: repository(path),
        reference: digest.unwrap_or(tag).to_owned(),
        pinned_by: None,
    }
}

/// The full name of a repository. Docker's own registry has two names, and leaves out `library/` in both.
pub fn repository(path: &str) -> String {
    match path.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) if rest.contains('/') => format!("docker.io/{rest}"),
        Some(("docker.io" | "index.docker.io", rest)) => format!("docker.io/library/{rest}"),
        None => format!("docker.io/library/{path}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => path.to_owned(),
        Some(_) => format!("docker.io/{path}"),
    }
}

/// The images of the containers in an object of a built-in kind: pods, and templates of pods and jobs.
pub fn of_manifest(object: &Value) -> Vec<ImageUse> {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let path = match kind {
        "Pod" => "/spec",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "ReplicationController" => {
            "/spec/template/spec"
        }
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return Vec::new(),
    };
    let Some(pod) = object.pointer(path) else {
        return Vec::new();
    };
    let containers = ["initContainers", "containers"]
        .into_iter()
        .filter_map(|list| pod.get(list)?.as_array());
    let images = containers
        .flatten()
        .filter_map(|container| container.get("image")?.as_str());
    images.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn references_are_read_as_docker_reads_them() {
        for (image, repository, reference) in [
            ("nginx", "docker.io/library/nginx", "latest"),
            ("nginx:1.2", "docker.io/library/nginx", "1.2"),
            ("docker.io/nginx", "docker.io/library/nginx", "latest"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx", "1"),
            ("docker.io/a/b:1", "docker.io/a/b", "1"),
            ("a/b:1", "docker.io/a/b", "1"),
            ("localhost/x:2", "localhost/x", "2"),
            ("r.example:5000/x/y", "r.example:5000/x/y", "latest"),
            ("r.example/x:1@sha256:00", "r.example/x", "sha256:00"),
        ] {
            let parsed = parse(image);
            assert_eq!(
                (parsed.repository.as_str(), parsed.reference.as_str()),
                (repository, reference)
            );
        }
    }
}
