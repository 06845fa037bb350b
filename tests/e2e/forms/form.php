<?php // Reads a form as PHP does, behind any server.
printf("%s %s %s %s\n", bin2hex($_POST['from']), $_POST['event'], $_POST['sequence'], $_POST['time']);
