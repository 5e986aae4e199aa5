{{- /* The database as the API's containers see it. A URL with a password comes from a file, never from the pod's spec. */ -}}
{{- define "threeport.databaseEnvironment" -}}
{{- if eq .Values.database.mode "sqlite" -}}
- {name: THREEPORT_DATABASE_URL, value: sqlite:///var/lib/threeport/threeport.db}
{{- else -}}
- {name: THREEPORT_DATABASE_URL_FILE, value: {{ printf "/etc/threeport/database/%s" .Values.database.external.secretKey | quote }}}
{{- end }}
{{- end }}

{{- define "threeport.databaseMounts" -}}
{{- if eq .Values.database.mode "sqlite" -}}
- {name: database, mountPath: /var/lib/threeport}
{{- else -}}
- {name: database, mountPath: /etc/threeport/database, readOnly: true}
{{- end }}
{{- end }}

{{- define "threeport.databaseVolumes" -}}
- name: database
{{- if eq .Values.database.mode "sqlite" }}
  persistentVolumeClaim: {claimName: {{ include "threeport.prefix" . }}-database}
{{- else }}
  secret: {secretName: {{ .Values.database.external.secretName }}, defaultMode: 0440}
{{- end }}
{{- end }}
