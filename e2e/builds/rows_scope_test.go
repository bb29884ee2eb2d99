//go:build e2e

package builds_test

var directiveRows = []row{
	{name: "# syntax", section: "syntax", builtIn: true, dockerfile: "# syntax=docker/dockerfile:1\nFROM {BASE}\nRUN echo x > /out\n"},
	{name: "# syntax of another frontend", section: "syntax", dockerfile: "# syntax={REGISTRY}/frontend:1\nFROM {BASE}\n", refused: "Dockerfile:1: # syntax=", buildKitRefuses: "frontend:1"},
	{name: "# escape", section: "escape", dockerfile: "# escape=`\nFROM {BASE}\nENV X=1\nRUN echo a `\n  b > /out; echo c\\d > /back\nLABEL a=`$X b=\"x`\"y\"\nCOPY <<EOF /doc\nplain\nEOF\n"},
	{name: "# check", section: "check", dockerfile: "# check=skip=all\nfrom {BASE}\nrun echo x > /out\n"},
}

var fromRows = []row{
	{name: "FROM IMAGE", section: "from", dockerfile: "FROM {BASE}\n"},
	{name: "FROM IMAGE@DIGEST", section: "from", dockerfile: "FROM {REGISTRY}/base@{DIGEST}\nRUN true\n"},
	{name: "FROM scratch", section: "from", context: site, dockerfile: "FROM scratch\nCOPY pages /\nENV X=1\nCMD [\"/none\"]\n"},
	{name: "FROM scratch, with nothing in it", section: "from", dockerfile: "FROM scratch\nLABEL a=b\n"},
	{name: "FROM STAGE", section: "from", dockerfile: "FROM {BASE} AS one\nENV A=1\nRUN echo 1 > /one\nWORKDIR /w\nUSER app\nFROM one AS two\nRUN id > /tmp/id; pwd >> /tmp/id; echo $A >> /tmp/id\nFROM two\nRUN echo 3 > /tmp/three\n"},
	{name: "FROM … AS in capitals", section: "from", dockerfile: "FROM {BASE} AS Build\nRUN echo 1 > /one\nFROM build\nCOPY --from=BUILD /one /two\n"},
	{name: "FROM --platform", section: "from", dockerfile: "FROM --platform=linux/{ARCH} {BASE} AS one\nRUN echo 1 > /one\nFROM --platform=$BUILDPLATFORM {BASE}\nCOPY --from=one /one /two\n"},
	{name: "FROM --platform of another architecture", section: "from", dockerfile: "FROM --platform=linux/s390x {BASE} AS one\nFROM {BASE}\nCOPY --from=one /srv/data /other\n", refused: "Dockerfile:1: FROM --platform=linux/s390x: "},
	{name: "FROM with an ARG", section: "understand-how-arg-and-from-interact", dockerfile: "ARG HOST={REGISTRY}\nARG IMAGE=${HOST}/base:1\nFROM ${IMAGE}\nARG IMAGE\nARG HOST=none\nRUN echo ${IMAGE##*/} $HOST > /out\n"},
	{name: "FROM with a platform ARG", section: "automatic-platform-args-in-the-global-scope", dockerfile: "FROM {BASE} AS for-{ARCH}\nRUN echo right > /out\nFROM for-$TARGETARCH\nRUN echo more >> /out\n"},
	{name: "a stage that is not needed", section: "from", dockerfile: "FROM {BASE} AS one\nRUN echo 1 > /one\nFROM {BASE} AS unused\nRUN exit 1\nFROM one\nRUN echo 2 > /two\n"},
	{name: "the target by name", section: "from", target: "middle", dockerfile: "FROM {BASE} AS first\nRUN echo 1 > /one\nFROM first AS middle\nRUN echo 2 > /two\nFROM {BASE}\nRUN exit 1\n"},
}

var scopeRows = []row{
	{name: "ARG", section: "arg", args: map[string]string{"GIVEN": "given, with commas = and spaces", "EMPTY": ""}, dockerfile: "FROM {BASE}\nARG GIVEN=default\nARG EMPTY=default\nARG KEPT=kept TWO=\"t w o\"\nARG NONE\nRUN echo \"$GIVEN|$EMPTY|$KEPT|$TWO|${NONE-unset}\" > /out\n"},
	{name: "ARG that is not declared", section: "arg", args: map[string]string{"STRAY": "x"}, dockerfile: "FROM {BASE}\nRUN echo \"${STRAY-unset}\" > /out\n"},
	{name: "ARG before it is declared", section: "scope", args: map[string]string{"LATE": "late"}, dockerfile: "FROM {BASE}\nENV A=${LATE:-early}\nARG LATE\nENV B=$LATE\n"},
	{name: "ARG of one stage in another", section: "scope", args: map[string]string{"A": "a"}, dockerfile: "FROM {BASE} AS one\nARG A\nARG B=b\nRUN echo $A$B > /one\nFROM {BASE} AS two\nRUN echo \"${A-unset}${B-unset}\" > /two\nFROM one\nCOPY --from=two /two /two\nRUN echo \"${A-unset}${B-unset}\" > /three\n"},
	{name: "ARG before FROM", section: "understand-how-arg-and-from-interact", args: map[string]string{"TWO": "given"}, dockerfile: "ARG ONE=1\nARG TWO=2\nARG THREE=$ONE$TWO\nFROM {BASE}\nRUN echo \"${ONE-unset}\" > /before\nARG ONE\nARG TWO\nARG THREE\nARG FOUR=$THREE\nRUN echo $ONE $TWO $THREE $FOUR > /out\n"},
	{name: "ARG and ENV of one name", section: "using-arg-variables", args: map[string]string{"V": "arg"}, dockerfile: "FROM {BASE}\nARG V\nENV W=$V\nENV V=env\nRUN echo $V $W > /out\nARG V=again\nRUN echo $V > /again\nENV X=$V\n"},
	{name: "ARG and the base's ENV", section: "using-arg-variables", dockerfile: "FROM {BASE}\nARG BASE=arg\nRUN echo $BASE > /out\nENV COPY=$BASE\n"},
	{name: "ARG HTTP_PROXY, predefined", section: "predefined-args", args: map[string]string{"NO_PROXY": "example.com"}, dockerfile: "FROM {BASE}\nRUN echo $NO_PROXY > /out\nENV A=${NO_PROXY:-none}\n"},
	{name: "ARG TARGETPLATFORM and its like", section: "automatic-platform-args-in-the-global-scope", dockerfile: "FROM {BASE}\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nARG BUILDPLATFORM\nARG BUILDOS\nARG BUILDARCH\nARG BUILDVARIANT\nRUN echo \"$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT $BUILDPLATFORM $BUILDOS $BUILDARCH $BUILDVARIANT\" > /out\n"},
	{name: "ARG TARGETARCH that is not declared", section: "automatic-platform-args-in-the-global-scope", dockerfile: "FROM {BASE}\nRUN echo \"${TARGETARCH-unset}\" > /out\n"},
	{name: "ARG TARGETSTAGE", section: "automatic-platform-args-in-the-global-scope", target: "last", dockerfile: "FROM {BASE} AS last\nARG TARGETSTAGE\nRUN echo \"$TARGETSTAGE\" > /out\n"},
	{name: "environment replacement, its forms", section: "environment-replacement", dockerfile: "FROM {BASE}\nENV A=foo.bar.baz U=\nENV B=${A:-x} C=${U:-empty} D=${U-set} E=${A:+alt} F=${U:+alt} G=${N:-none} H=\\$A I=\\${A} J=\"'$A'\"\nENV K=${A#*.} L=${A##*.} M=${A%.*} N=${A%%.*} O=${A/o/0} P=${A//o/0}\n"},
	{name: "environment replacement within one line", section: "environment-replacement", dockerfile: "FROM {BASE}\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n"},
	{name: "comments and continuation", section: "format", dockerfile: "# a comment\nFROM {BASE}\n\nRUN echo one \\\n# in between\n    two \\\n\n    three > /out\n  # indented\n   ENV X=1\nRUN echo '# none' > /hash\n"},
	{name: "no line end at the end", section: "format", dockerfile: "FROM {BASE}\nRUN echo x > /out"},
	{name: "CR LF line ends", section: "format", dockerfile: "FROM {BASE}\r\nENV X=1\r\nRUN echo a \\\r\n  b > /out\r\n"},
	{name: "a byte order mark", section: "format", dockerfile: "\ufeffFROM {BASE}\nRUN echo x > /out\n"},
}

// fileRows show what is easily lost between layers.
var fileRows = []row{
	{name: "layers that write over each other", section: "run", context: site, dockerfile: "FROM {BASE}\nRUN echo 1 > /f && mkdir /d && echo 1 > /d/f\nRUN rm -r /d && echo file > /d\nRUN rm /d && mkdir /d && echo 3 > /d/g\nCOPY index.html /f\nRUN rm /f\n"},
	{name: "a file that is made and removed", section: "run", dockerfile: "FROM {BASE}\nRUN echo x > /x\nRUN rm /x\nRUN echo x > /y && rm /y\n"},
	{name: "a RUN that changes nothing", section: "run", dockerfile: "FROM {BASE}\nRUN true\nRUN touch -c /none\n"},
	{name: "names with blanks, quotes and other letters", section: "copy", context: tree{"a b/c d": text("x"), "q'\"q": text("y"), "ü/ß": text("z"), "[x]": text("b")}, dockerfile: "FROM {BASE}\nCOPY [\"a b\", \"/with blank/\"]\nCOPY . /all/\nCOPY [[]x] /bracket\nRUN touch \"/a b\" /ü\n"},
	{name: "a time in the past, and a deep tree", section: "run", dockerfile: "FROM {BASE}\nRUN mkdir -p /1/2/3/4/5/6/7/8/9 && touch -d '2001-02-03 04:05:06' /1/2/old && touch /1/2/3/4/5/6/7/8/9/f\nRUN echo changed > /1/2/3/4/5/6/7/8/9/f\n", times: []string{"/1/2/old"}},
	{name: "a file of 8 MiB, and a sparse one", section: "run", dockerfile: "FROM {BASE}\nRUN dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null && truncate -s 4M /sparse\n"},
	{name: "folders that only the layer's files imply", section: "copy", context: site, dockerfile: "FROM scratch\nCOPY index.html /a/b/c/d\nCOPY --chown=3:4 index.html /e/f/g\n"},
}
