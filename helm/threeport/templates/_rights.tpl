{{- /* Who may not even see ClusterRoles can't make any. A template can't catch the cluster's refusal, but Helm says in which
       template it came: so the name of this one is what to do. Helm itself asks for each of them before an install. */ -}}
{{- define "who has only a namespace sets rbac.create=false, see docs/how-to/install-with-helm.md" -}}
{{- $_ := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" (printf "%s-api" (include "threeport.clusterPrefix" .)) -}}
{{- end }}
