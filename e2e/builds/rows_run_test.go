//go:build e2e

package builds_test

// list writes all that a RUN can see of a folder into a file, so that the two builds are compared by it.
const list = `find /tree -exec stat -c '%n %A %u:%g %s' {} + | sort`

var runRows = []row{
	{name: "RUN, shell form", section: "shell-form", dockerfile: "FROM {BASE}\nRUN mkdir /a && echo one > /a/one && \\\n    echo two > /a/two\n"},
	{name: "RUN, exec form", section: "exec-form", dockerfile: "FROM {BASE}\nRUN [\"/bin/sh\", \"-c\", \"echo $0 $1 > /out\", \"zero\", \"o n e\"]\nRUN [\"touch\", \"/by-path\"]\n"},
	{name: "RUN <<EOF", section: "here-documents", dockerfile: "FROM {BASE}\nRUN <<EOF\nx=1\necho $x > /out\ncat > /eaten\necho after >> /out\nEOF\n"},
	{name: "RUN <<'EOF', quoted", section: "here-documents", dockerfile: "FROM {BASE}\nENV WORD=env\nRUN <<'EOF'\necho \"$WORD \\$x\" > /out\nEOF\n"},
	{name: "RUN <<-EOF, without tabs", section: "here-documents", dockerfile: "FROM {BASE}\nRUN <<-EOF\n\t\techo tabs > /out\nEOF\n"},
	{name: "RUN <<EOF with #!", section: "here-documents", dockerfile: "FROM {BASE}\nRUN <<EOF\n#!/bin/sh\necho script > /out\nEOF\n"},
	{name: "RUN <<EOF with #! of another program", section: "here-documents", dockerfile: "FROM {BASE}\nRUN <<EOF\n#!/bin/awk -f\nBEGIN { print \"awk\" > \"/out\" }\nEOF\n"},
	{name: "RUN command <<EOF", section: "here-documents", dockerfile: "FROM {BASE}\nRUN cat <<EOF > /out\nline $PATH\nEOF\n"},
	{name: "RUN with two here-documents", section: "here-documents", dockerfile: "FROM {BASE}\nRUN cat <<ONE > /one; cat <<TWO > /two\n1\nONE\n2\nTWO\n"},
	{name: "RUN that removes", section: "run", dockerfile: "FROM {BASE}\nRUN rm -r /srv/data /usr/bin/raise && mkdir /srv/data && echo new > /srv/data/new\nRUN mkdir -p /x/y && touch /x/y/z\nRUN rm -r /x/y\n"},
	{name: "RUN that changes modes and owners", section: "run", dockerfile: "FROM {BASE}\nRUN chmod 4711 /bin/busybox && chmod 1775 /srv && chown app:staff /srv/data && chown -h 7:8 /data && chmod 700 /home/app\n"},
	{name: "RUN that makes links, pipes and devices", section: "run", dockerfile: "FROM {BASE}\nRUN mkdir /l && cd /l && echo a > a && ln a b && ln -s a c && ln -s /l d && mkfifo p && mknod null c 1 3 && mkdir -m 0 empty\n"},
	{name: "RUN that changes a file of the base that has two names", section: "run", differs: []string{"/srv/data/one", "/srv/data/same"}, warns: "Dockerfile:2: RUN has changed \"/srv/data/one\" and, since it is the same file, \"/srv/data/same\"", dockerfile: "FROM {BASE}\nRUN echo more >> /srv/data/one\n"},
	{name: "RUN that adds a hard link to an older file", section: "run", keepsLinks: true, dockerfile: "FROM {BASE}\nRUN echo a > /a\nRUN ln /a /b\nRUN ln /srv/data/one /srv/third\n"},
	{name: "RUN that replaces a folder by a link, and a link by a folder", section: "run", dockerfile: "FROM {BASE}\nRUN rm -r /srv/data && ln -s /var/lib /srv/data && rm /data && mkdir /data && touch /data/f\n"},
	{name: "RUN that sets a file's capability", section: "run", dockerfile: "FROM {BASE}\nRUN cp -p /usr/bin/serve /usr/bin/copy; chmod 750 /usr/bin/serve\n"},
	{name: "RUN in a folder that is missing", section: "workdir", dockerfile: "FROM {BASE}\nWORKDIR /gone\nRUN cd / && rm -r /gone\nRUN pwd > /out\n"},
	{name: "RUN's environment", section: "run", dockerfile: "FROM {BASE}\nARG GIVEN\nARG DEFAULT=default\nARG UNSET\nENV SET=\"a b\"\nRUN env | grep -v -e ^HOSTNAME -e ^SHLVL -e ^OLDPWD -e ^OTEL -e TRACE | sort > /out; umask >> /out; id >> /out; pwd >> /out\n", args: map[string]string{"GIVEN": "x,y z"}},
	{name: "RUN's standard input", section: "run", dockerfile: "FROM {BASE}\nRUN cat > /in; echo $? >> /in\n"},
	{name: "RUN that leaves a process", section: "run", dockerfile: "FROM {BASE}\nRUN sleep 60 & echo started > /out\nRUN echo next >> /out\n"},
	{name: "RUN that writes to /tmp, /run and /var/run", section: "run", dockerfile: "FROM {BASE}\nRUN mkdir -p /run/x /var/run/y && echo a > /tmp/a && echo b > /run/x/b && echo c > /var/run/y/c\n"},
	{name: "RUN that writes files of a container's own", section: "run", dockerfile: "FROM {BASE}\nRUN touch /etc/mtab && mkdir -p /etc/ssl/certs /root/.docker && echo x > /etc/ssl/certs/ca-certificates.crt && echo y > /root/.docker/config.json && echo z >> /etc/passwd\n"},
	{name: "RUN --network=default", section: "run---networkdefault", dockerfile: "FROM {BASE}\nRUN --network=default echo net > /out\n"},
	{name: "RUN --network=host", section: "run---networkhost", dockerfile: "FROM {BASE}\nRUN --network=host echo net > /out\n", allow: []string{"network.host"}},
	{name: "RUN --network=none", section: "run---networknone", dockerfile: "FROM {BASE}\nRUN --network=none echo none > /out\n", refused: "Dockerfile:2: RUN --network=none: "},
	{name: "RUN --security=sandbox", section: "run---security", dockerfile: "FROM {BASE}\nRUN --security=sandbox echo safe > /out\n"},
	{name: "RUN --security=insecure", section: "run---security", dockerfile: "FROM {BASE}\nRUN --security=insecure echo unsafe > /out\n", allow: []string{"security.insecure"}, refused: "Dockerfile:2: RUN --security=insecure: "},
	{name: "RUN --device", section: "run---device", dockerfile: "FROM {BASE}\nRUN --device=vendor.com/class=name true\n", refused: "Dockerfile:2: RUN --device: ", buildKitRefuses: "device feature is only supported"},
}

var mountRows = []row{
	{name: "RUN --mount=type=bind", section: "run---mounttypebind", context: site, dockerfile: "FROM {BASE}\nRUN --mount=type=bind,target=/tree " + list + " > /out; cat /tree/pages/one.html >> /out\n"},
	{name: "RUN --mount=type=bind,source", section: "run---mounttypebind", context: site, dockerfile: "FROM {BASE}\nRUN --mount=source=pages,destination=/tree " + list + " > /out\nRUN --mount=type=bind,source=index.html,dst=/srv/index.html cat /srv/index.html > /file\n"},
	{name: "RUN --mount=type=bind over a folder", section: "run---mounttypebind", context: site, dockerfile: "FROM {BASE}\nRUN --mount=type=bind,source=pages,target=/srv/data ls /srv/data > /out\n"},
	{name: "RUN --mount=type=bind,rw", section: "run---mounttypebind", context: site, dockerfile: "FROM {BASE}\nRUN --mount=type=bind,target=/tree,rw echo x > /tree/new && ls /tree > /out\nRUN --mount=type=bind,target=/tree,readwrite ls /tree > /again\n"},
	{name: "RUN --mount=type=bind that is written to", late: true, refused: "Dockerfile:2: RUN --mount=type=bind", section: "run---mounttypebind", context: site, dockerfile: "FROM {BASE}\nRUN --mount=type=bind,target=/tree (echo x > /tree/index.html) 2>/dev/null || echo read-only > /out\n"},
	{name: "RUN --mount=type=bind,from=STAGE", section: "run---mounttypebind", dockerfile: "FROM {BASE} AS made\nRUN mkdir /made && echo 1 > /made/one && ln -s one /made/two\nFROM {BASE}\nRUN --mount=type=bind,from=made,source=/made,target=/tree " + list + " > /out; cat /tree/two >> /out\n"},
	{name: "RUN --mount=type=bind,from=IMAGE", section: "run---mounttypebind", dockerfile: "FROM {BASE}\nRUN --mount=type=bind,from={REGISTRY}/user:1,target=/tree cat /tree/home/app/hello > /out\n"},
	{name: "RUN --mount=type=cache", section: "run---mounttypecache", dockerfile: "FROM {BASE}\nRUN --mount=type=cache,target=/tree echo 1 > /tree/one && ls /tree > /out\nRUN --mount=type=cache,target=/tree,id=/tree ls /tree > /again\nRUN ls -d /tree > /gone || true\n"},
	{name: "RUN --mount=type=cache over a folder", section: "run---mounttypecache", dockerfile: "FROM {BASE}\nRUN --mount=type=cache,dst=/srv/data ls /srv/data > /out; echo x > /srv/data/x\n"},
	{name: "RUN --mount=type=cache,id,sharing", section: "run---mounttypecache", dockerfile: "FROM {BASE}\nRUN --mount=type=cache,id=mine,destination=/a,sharing=locked echo 1 > /a/one\nRUN --mount=type=cache,id=mine,target=/b,sharing=shared cp /b/one /out\nRUN --mount=type=cache,id=own,target=/c,sharing=private touch /c/x\n"},
	{name: "RUN --mount=type=cache,mode,uid,gid", section: "run---mounttypecache", dockerfile: "FROM {BASE}\nUSER app\nRUN --mount=type=cache,target=/tmp/cache,mode=0770,uid=1000,gid=50 stat -c '%a %u:%g' /tmp/cache > /home/app/out && touch /tmp/cache/x\n"},
	{name: "RUN --mount=type=cache,ro", section: "run---mounttypecache", dockerfile: "FROM {BASE}\nRUN --mount=type=cache,target=/tree,id=ro echo 1 > /tree/one\nRUN --mount=type=cache,target=/tree,id=ro,ro cat /tree/one > /out\nRUN --mount=type=cache,target=/tree,id=ro,readonly cat /tree/one > /again\n"},
	{name: "RUN --mount=type=cache,from,source", section: "run---mounttypecache", dockerfile: "FROM {BASE} AS made\nRUN mkdir /made && echo 1 > /made/one\nFROM {BASE}\nRUN --mount=type=cache,id=filled,target=/tree,from=made,source=/made ls /tree > /out\n"},
	{name: "RUN --mount=type=tmpfs", section: "run---mounttypetmpfs", dockerfile: "FROM {BASE}\nRUN --mount=type=tmpfs,target=/tree touch /tree/x && ls /tree > /out\nRUN --mount=type=tmpfs,dst=/tree,size=64m ls /tree > /again\nRUN --mount=type=tmpfs,destination=/srv/data ls /srv/data > /over; stat -c %a /srv/data >> /over\n"},
	{name: "RUN --mount with a relative target", section: "run---mounttypetmpfs", dockerfile: "FROM {BASE}\nWORKDIR /w\nRUN --mount=type=tmpfs,target=sub touch sub/x && pwd > /out && ls sub >> /out\n"},
	{name: "RUN --mount with a variable", section: "run---mount", dockerfile: "FROM {BASE}\nENV DIR=/tree\nRUN --mount=type=tmpfs,target=$DIR touch /tree/x && ls /tree > /out\n"},
	{name: "RUN --mount=type=secret", section: "run---mounttypesecret", secrets: map[string]string{"TOKEN": "s3cret-value"}, dockerfile: "FROM {BASE}\nRUN --mount=type=secret,id=TOKEN wc -c < /run/secrets/TOKEN > /out; stat -c '%a %u:%g' /run/secrets/TOKEN >> /out\nRUN --mount=type=secret,target=/x/TOKEN wc -c < /x/TOKEN > /again\n"},
	{name: "RUN --mount=type=secret over a file", section: "run---mounttypesecret", secrets: map[string]string{"TOKEN": "s3cret-value"}, dockerfile: "FROM {BASE}\nRUN --mount=type=secret,id=TOKEN,target=/srv/data/one wc -c < /srv/data/one > /out\n"},
	{name: "RUN --mount=type=secret,mode,uid,gid", section: "run---mounttypesecret", secrets: map[string]string{"TOKEN": "s3cret-value"}, dockerfile: "FROM {BASE}\nUSER app\nRUN --mount=type=secret,id=TOKEN,dst=/tmp/s,mode=0440,uid=1000,gid=50 stat -c '%a %u:%g' /tmp/s > /home/app/out; wc -c < /tmp/s >> /home/app/out\nRUN --mount=type=secret,id=TOKEN,destination=/tmp/t true\n"},
	{name: "RUN --mount=type=secret,env", section: "run---mounttypesecret", secrets: map[string]string{"TOKEN": "s3cret-value"}, dockerfile: "FROM {BASE}\nRUN --mount=type=secret,id=TOKEN,env=WORD echo ${#WORD} > /out; ls /run/secrets 2>/dev/null >> /out || true\n"},
	{name: "RUN --mount=type=secret that is not given", section: "run---mounttypesecret", dockerfile: "FROM {BASE}\nRUN --mount=type=secret,id=NONE ls /run/secrets > /out 2>/dev/null || echo none > /out\n"},
	{name: "RUN --mount=type=secret,required", section: "run---mounttypesecret", secrets: map[string]string{"TOKEN": "s3cret-value"}, dockerfile: "FROM {BASE}\nRUN --mount=type=secret,id=TOKEN,required wc -c < /run/secrets/TOKEN > /out\n"},
	{name: "RUN --mount=type=secret,required that is not given", section: "run---mounttypesecret", dockerfile: "FROM {BASE}\nRUN --mount=type=secret,id=NONE,required=true true\n", refused: "Dockerfile:2: RUN --mount=type=secret,id=NONE,required: ", buildKitRefuses: "secret NONE: not found"},
	{name: "RUN --mount=type=ssh", section: "run---mounttypessh", dockerfile: "FROM {BASE}\nRUN --mount=type=ssh echo ${SSH_AUTH_SOCK:-none} > /out\nRUN --mount=type=ssh,id=key,target=/a,required=false,mode=0600,uid=0,gid=0 true\nRUN --mount=type=ssh,dst=/b true\nRUN --mount=type=ssh,destination=/b true\n", refused: "Dockerfile:2: RUN --mount=type=ssh: "},
}
