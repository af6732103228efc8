# git: clone over its own pipes, rebase with an editor and a command, gc in the background and in the foreground.
. "$(dirname "$0")/check.sh"
git config --global user.name "A Tester"
git config --global user.email tester@example.org
git config --global init.defaultBranch main
git config --global core.fsync none
git config --global pack.threads 2

git init -q origin
cd origin
for i in 1 2 3 4 5 6; do
  echo "line $i" >> file
  echo "$i" > "file-$i"
  git add .
  git commit -q -m "change $i"
done
cat > .git/hooks/post-commit <<'END'
#!/bin/sh
echo "$PPID" >> .git/hooked
END
chmod +x .git/hooks/post-commit
git checkout -q -b topic HEAD~2
echo topic > topic-file
git add .
git commit -q -m "topic 1"
echo more >> topic-file
git commit -q -a -m "fixup! topic 1"
test -s .git/hooked
cd ..

git clone -q "file://$PWD/origin" clone
cd clone
git checkout -q topic
GIT_SEQUENCE_EDITOR="sed -i -e 's/^#.*//'" git rebase -q -i --autosquash --exec 'test -f topic-file' origin/main
equal "$(git rev-list --count HEAD)" 7
equal "$(git log -1 --format=%s)" "topic 1"
git gc --quiet --prune=now
equal "$(git count-objects | cut -d' ' -f1)" 0
git fsck --strict --no-progress 2>/dev/null
git push -q --force origin topic 2>/dev/null || git push -q origin topic:pushed

# In the background, as after a fetch: it says who it is in a file, and the next one leaves it alone.
for i in 1 2 3; do git commit -q --allow-empty -m "empty $i"; done
git repack -q; git commit -q --allow-empty -m "another"; git repack -q
git -c gc.autoPackLimit=1 -c gc.autoDetach=true gc --auto 2>/dev/null
one_pack() { [ "$(ls .git/objects/pack/*.pack | wc -l)" = 1 ] && [ ! -e .git/gc.pid ]; }
eventually one_pack

# Processes that talk: fetch-pack, upload-pack, index-pack, archive through tar.
cd ../origin && git fetch -q ../clone topic && cd ..
equal "$(git -C clone archive HEAD | tar -t | wc -l)" 8
